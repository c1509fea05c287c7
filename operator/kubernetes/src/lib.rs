//! The cluster as Kubernetes objects.
