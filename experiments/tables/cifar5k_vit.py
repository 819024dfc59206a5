"""The table of docs/masked.md: methods of one and of two views with one small ViT on 5,000 images of CIFAR-10.

python -m experiments.tables.cifar5k_vit --workdir=runs/cifar5k_vit [--methods=mae,simclr] [--seeds=1,2,3]
"""

from selfsup import errors

from . import table

main = table.command('cifar5k_vit')

if __name__ == '__main__':
    errors.command(main)()
