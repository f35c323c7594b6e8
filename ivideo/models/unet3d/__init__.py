"""The first family: pipelines of diffusers' UNet3DConditionModel (ModelScope, zeroscope, the emoji world)."""
