// A small xDS server over go-control-plane, for tests: a foreign implementation of the protocol that the proxy's client
// is driven by. It serves a fixed set of resources from a JSON file to every node, state-of-the-world and delta, and
// reads the file again on SIGHUP.
//
//	xds-go [--listen 127.0.0.1:0] [--cert FILE --key FILE [--ca FILE]] FILE
//
// On stdout, one JSON object a line: first {"event":"listening","address":…}, then what clients do
// ("open", "request", "ack", "nack", "response", "close"). It ends when stdin does, or by SIGTERM.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/encoding/protojson"
)

// everyNode gives all nodes the same resources.
type everyNode struct{}

func (everyNode) ID(*core.Node) string { return "all" }

// The events on stdout. Callbacks come from many goroutines.
type events struct {
	mutex  sync.Mutex
	writer *json.Encoder
}

func (e *events) tell(kind string, fields map[string]any) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	fields["event"] = kind
	_ = e.writer.Encode(fields)
}

func (e *events) tellRequest(stream int64, typeURL, nonce string, names, removed []string, version string, failure string) {
	fields := map[string]any{"stream": stream, "type": typeURL, "nonce": nonce, "names": names, "version": version}
	if removed != nil {
		fields["unsubscribe"] = removed
	}
	kind := "request"
	if failure != "" {
		kind, fields["error"] = "nack", failure
	} else if nonce != "" {
		kind = "ack"
	}
	e.tell(kind, fields)
}

func (e *events) callbacks() server.Callbacks {
	return server.CallbackFuncs{
		StreamOpenFunc: func(_ context.Context, id int64, _ string) error {
			e.tell("open", map[string]any{"stream": id, "delta": false})
			return nil
		},
		DeltaStreamOpenFunc: func(_ context.Context, id int64, _ string) error {
			e.tell("open", map[string]any{"stream": id, "delta": true})
			return nil
		},
		StreamClosedFunc: func(id int64, node *core.Node) {
			e.tell("close", map[string]any{"stream": id, "node": node.GetId()})
		},
		DeltaStreamClosedFunc: func(id int64, node *core.Node) {
			e.tell("close", map[string]any{"stream": id, "node": node.GetId()})
		},
		StreamRequestFunc: func(id int64, r *discovery.DiscoveryRequest) error {
			e.tellRequest(id, r.TypeUrl, r.ResponseNonce, r.ResourceNames, nil, r.VersionInfo, r.GetErrorDetail().GetMessage())
			return nil
		},
		StreamDeltaRequestFunc: func(id int64, r *discovery.DeltaDiscoveryRequest) error {
			e.tellRequest(id, r.TypeUrl, r.ResponseNonce, r.ResourceNamesSubscribe, r.ResourceNamesUnsubscribe, "",
				r.GetErrorDetail().GetMessage())
			return nil
		},
		StreamResponseFunc: func(_ context.Context, id int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			e.tell("response", map[string]any{"stream": id, "type": r.TypeUrl, "version": r.VersionInfo, "nonce": r.Nonce,
				"resources": len(r.Resources)})
		},
		StreamDeltaResponseFunc: func(id int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			e.tell("response", map[string]any{"stream": id, "type": r.TypeUrl, "nonce": r.Nonce, "resources": len(r.Resources),
				"removed": r.RemovedResources})
		},
	}
}

// The members of the file, and the type that each list is of.
var lists = map[string]string{
	"listeners": resource.ListenerType,
	"routes":    resource.RouteType,
	"clusters":  resource.ClusterType,
	"endpoints": resource.EndpointType,
	"secrets":   resource.SecretType,
}

func readResource(typeURL string, text json.RawMessage) (types.Resource, error) {
	message, err := newMessage(typeURL)
	if err != nil {
		return nil, err
	}
	return message, protojson.Unmarshal(text, message)
}

func readResources(path string) (map[resource.Type][]types.Resource, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file map[string][]json.RawMessage
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	resources := map[resource.Type][]types.Resource{}
	for list, items := range file {
		typeURL, known := lists[list]
		if !known {
			return nil, fmt.Errorf("%s: no list of resources is called %q", path, list)
		}
		for i, item := range items {
			one, err := readResource(typeURL, item)
			if err != nil {
				return nil, fmt.Errorf("%s: %s[%d]: %w", path, list, i, err)
			}
			resources[typeURL] = append(resources[typeURL], one)
		}
	}
	return resources, nil
}

func load(snapshots cache.SnapshotCache, path string, version int) error {
	resources, err := readResources(path)
	if err != nil {
		return err
	}
	snapshot, err := cache.NewSnapshot(strconv.Itoa(version), resources)
	if err != nil {
		return err
	}
	return snapshots.SetSnapshot(context.Background(), "all", snapshot)
}

func transport(certFile, keyFile, caFile string) (grpc.ServerOption, error) {
	if certFile == "" {
		return grpc.EmptyServerOption{}, nil
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(text)
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return grpc.Creds(credentials.NewTLS(config)), nil
}

func reloadOnHangup(snapshots cache.SnapshotCache, path string, log *events) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for version := 2; ; version++ {
			<-hangups
			if err := load(snapshots, path, version); err != nil {
				log.tell("error", map[string]any{"text": err.Error()})
			} else {
				log.tell("loaded", map[string]any{"version": strconv.Itoa(version)})
			}
		}
	}()
}

func endWithStdin(stop func()) {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM, syscall.SIGINT)
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	go func() {
		select {
		case <-terms:
		case <-closed:
		}
		stop()
	}()
}

func run(listen, certFile, keyFile, caFile, path string) error {
	log := &events{writer: json.NewEncoder(os.Stdout)}
	snapshots := cache.NewSnapshotCache(true, everyNode{}, nil)
	if err := load(snapshots, path, 1); err != nil {
		return err
	}
	credentials, err := transport(certFile, keyFile, caFile)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer(credentials)
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer,
		server.NewServer(context.Background(), snapshots, log.callbacks()))
	reloadOnHangup(snapshots, path, log)
	endWithStdin(grpcServer.Stop)
	log.tell("listening", map[string]any{"address": listener.Addr().String()})
	return grpcServer.Serve(listener)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address and port")
	certFile := flag.String("cert", "", "the server's certificate; none: plaintext")
	keyFile := flag.String("key", "", "its key")
	caFile := flag.String("ca", "", "roots that a client's certificate must come from, where it shows one")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*listen, *certFile, *keyFile, *caFile, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "xds-go:", err)
		os.Exit(1)
	}
}
