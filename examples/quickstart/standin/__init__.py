"""Stand-ins for what a cluster would do around the programs under test: the API server's part of an admission, and the
runtime's part of a pod (network namespace, CNI chain, containers). They do what the real ones do with the same inputs,
so that webhook, plugin and proxy are exercised as they are; nothing here knows how fairlead works inside."""
