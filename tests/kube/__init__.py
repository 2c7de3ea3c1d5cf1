"""A small Kubernetes of the tests: an API server that helm takes for a real one, whose pods are local processes.

`store` keeps the objects, `patches` changes them, `apiserver` serves them over HTTP, `controllers` make pods of
Deployments and Jobs, and `kubelet` runs their containers: the command line of the manifest, with its environment and
the files of its ConfigMaps and Secrets. What is not here: users, admission, nodes, networks, images. A pod has no
network namespace of its own, but a loopback address.
"""
