// Gateway API's CRDs, of the version that the conformance suite wants: files in the module, nothing is compiled.
module fairlead.test/cluster/gateway

go 1.26.0

require sigs.k8s.io/gateway-api v1.6.3
