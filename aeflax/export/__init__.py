"""A trained model in forms that run without aeflax: StableHLO, safetensors, ONNX."""
