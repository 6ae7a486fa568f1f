"""What a machine really does: copies, arithmetic, collectives, disks and a burn-in, measured by one process for each
GPU (or one, without a GPU) of all nodes together. It needs torch and nothing else of a stack.

    python -m gpulab.inside.acceptance --nodes 1 --node-rank 0 --master-addr 127.0.0.1 --master-port 29500 --out DIR

Each process writes DIR/machines/<rank>.json; what the figures have to be is judged elsewhere (checks/acceptance.py).
"""
