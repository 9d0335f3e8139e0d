"""The bundled weights, a `NAME.safetensors` each, with their cards."""
