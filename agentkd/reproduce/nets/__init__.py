"""Small networks of experiments: MLP, CNN, ViT, U-Net, path writer. May import: methods, reproduce."""
