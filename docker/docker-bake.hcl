# What every image has in common. A target for each stack, made from docker/stacks.yml, inherits it:
# `./inv build STACK --dry` prints the whole.
target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
  target     = "stack"
  labels = {
    "org.opencontainers.image.vendor"   = "GPU lab for ms-swift"
    "org.opencontainers.image.licenses" = "the packages' own, see the SBOM beside the manifest"
  }
}
