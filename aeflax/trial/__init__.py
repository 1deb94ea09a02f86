"""Parts of a user's own, tried before a training: noise by its keys, rows for themselves, gradients that arrive."""
