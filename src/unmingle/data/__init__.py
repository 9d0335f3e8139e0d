"""Training data: manifests, corpora, mixtures fixed and dynamic, films of faces."""
