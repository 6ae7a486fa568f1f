"""The families of twins. What a module here is called is what `twin:` in a lab.yaml says; gpulab/inside/twins/make.py
tells what it holds."""
