"""Neural style transfer (Gatys, Ecker & Bethge 2015, doi:10.48550/arXiv.1508.06576).

An image is changed step by step until a network sees in it the textures and colours of a style and
the objects of a content. `features` are the networks, `losses` what is compared, `optimizers` how
the image is changed, `run` one image from start to result, `batch` a folder of annotated images.
"""
