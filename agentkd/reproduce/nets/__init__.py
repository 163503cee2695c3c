"""Small networks of experiments: MLP, CNN, ViT, U-Net. May import: methods."""
