"""review: what `look` has found, decided on one image after the other on a local page; it needs no torch.

`findings` reads what a look has kept, `decisions` keeps labels.csv, `app` and `page` are the page and what it asks.
"""
