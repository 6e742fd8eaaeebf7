"""The conformance kit: scripted scenarios that any implementation of ``RegistryService`` must pass."""
