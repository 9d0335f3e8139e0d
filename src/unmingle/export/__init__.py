"""Networks leave the house: ONNX graphs, each checked against torch before it gets its name."""
