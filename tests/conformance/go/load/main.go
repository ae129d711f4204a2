// gRPC for the benchmarks, by grpc-go and the messages of its interop tests.
//
//	load serve ADDRESS                          until it is ended
//	load unary ADDRESS SECONDS CONNS STREAMS    calls as fast as they come, STREAMS at a time on each of CONNS connections
//	load stream ADDRESS SECONDS CONNS STREAMS   messages of 1 KB that the server streams, the same way
//
// The last two print "COUNT ERRORS".
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

const messageSize = 1024

type server struct {
	pb.UnimplementedTestServiceServer
}

func payload(size int) *pb.Payload { return &pb.Payload{Body: make([]byte, size)} }

func (server) UnaryCall(_ context.Context, request *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	return &pb.SimpleResponse{Payload: payload(int(request.ResponseSize))}, nil
}

// As many messages as the client has patience for.
func (server) StreamingOutputCall(_ *pb.StreamingOutputCallRequest, stream pb.TestService_StreamingOutputCallServer) error {
	message := &pb.StreamingOutputCallResponse{Payload: payload(messageSize)}
	for {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
}

var count, failed atomic.Int64

func unary(ctx context.Context, client pb.TestServiceClient) {
	request := &pb.SimpleRequest{ResponseSize: 128, Payload: payload(128)}
	for ctx.Err() == nil {
		if _, err := client.UnaryCall(context.Background(), request); err != nil {
			failed.Add(1)
		} else {
			count.Add(1)
		}
	}
}

func stream(ctx context.Context, client pb.TestServiceClient) {
	call, err := client.StreamingOutputCall(ctx, &pb.StreamingOutputCallRequest{})
	for err == nil {
		if _, err = call.Recv(); err == nil {
			count.Add(1)
		}
	}
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Canceled || err == io.EOF {
		failed.Add(1)
	}
}

func load(run func(context.Context, pb.TestServiceClient), address string, seconds, conns, streams int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for range conns {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		client := pb.NewTestServiceClient(conn)
		for range streams {
			group.Go(func() { run(ctx, client) })
		}
	}
	group.Wait()
	fmt.Println(count.Load(), failed.Load())
	return nil
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	pb.RegisterTestServiceServer(s, server{})
	return s.Serve(listener)
}

func number(at int) int {
	value, err := strconv.Atoi(os.Args[at])
	if err != nil || value < 1 {
		fmt.Fprintln(os.Stderr, "not a number:", os.Args[at])
		os.Exit(2)
	}
	return value
}

func main() {
	runs := map[string]func(context.Context, pb.TestServiceClient){"unary": unary, "stream": stream}
	var err error
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else if len(os.Args) == 6 && runs[os.Args[1]] != nil {
		err = load(runs[os.Args[1]], os.Args[2], number(3), number(4), number(5))
	} else {
		err = fmt.Errorf("usage: load serve ADDRESS | load unary|stream ADDRESS SECONDS CONNS STREAMS")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
