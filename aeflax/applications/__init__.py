"""What a trained autoencoder is used for."""
