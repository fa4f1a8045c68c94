"""A lab of four hosts on one machine: a coordinator and three sites, each a network namespace with its own address.

Start with `campaign.py`: the whole story, step by step. It runs the installed commands, as people would, and then looks
at what left each site. Not part of the product: it needs Linux, root, iproute2 and /dev/net/tun.
"""
