// A server and a client by Go's net/http, HTTP/1.1 and HTTP/2 in clear text by prior knowledge.
//
//	peer serve h1|h2|both ADDRESS   until it is ended
//	peer ask h1|h2 URL [NAME…]      every scenario that the version has, but those that are named; a line for each that fails, exit
//	                                status 1
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const large = 8 << 20

func protocols(version string) *http.Protocols {
	var all http.Protocols
	all.SetHTTP1(version != "h2")
	all.SetUnencryptedHTTP2(version != "h1")
	return &all
}

func serve(version, address string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", r.Proto)
		fmt.Fprint(w, "hello")
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			return
		}
		w.Header().Set("X-Trailer", r.Trailer.Get("X-Sum"))
		fmt.Fprint(w, hex.EncodeToString(sum.Sum(nil)))
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		piece := bytes.Repeat([]byte("0123456789abcdef"), 1024)
		for sent := 0; sent < large; sent += len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "of body")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "hello")
	})
	mux.HandleFunc("/204", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/304", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"e"`)
		w.WriteHeader(http.StatusNotModified)
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/fields", func(w http.ResponseWriter, r *http.Request) {
		for _, value := range r.Header["X-Many"] {
			w.Header().Add("X-Many", value)
		}
		w.Header().Set("X-Cookie", r.Header.Get("Cookie"))
	})
	mux.HandleFunc("/talk", talk)
	mux.HandleFunc("/upgrade", upgrade)
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	server := http.Server{Addr: address, Handler: mux, Protocols: protocols(version)}
	return server.ListenAndServe()
}

// Each line comes back at once, while the request is still being sent.
func talk(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.(http.Flusher).Flush()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		fmt.Fprintln(w, "you said", lines.Text())
		w.(http.Flusher).Flush()
	}
}

func upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

type asker struct {
	base   string
	client *http.Client
	h2     bool
}

func (a *asker) do(method, path string, body io.Reader, change func(*http.Request)) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, "", err
	}
	if change != nil {
		change(request)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func expect(response *http.Response, err error, status int, text, wanted string) error {
	if err != nil {
		return err
	}
	if response.StatusCode != status || text != wanted {
		return fmt.Errorf("%d with %.40q, not %d with %.40q", response.StatusCode, text, status, wanted)
	}
	return nil
}

func (a *asker) hello() error {
	response, text, err := a.do("GET", "/hello", nil, nil)
	return expect(response, err, 200, text, "hello")
}

func (a *asker) head() error {
	response, text, err := a.do("HEAD", "/hello", nil, nil)
	if err := expect(response, err, 200, text, ""); err != nil {
		return err
	}
	if response.ContentLength != 5 {
		return fmt.Errorf("length %d", response.ContentLength)
	}
	return nil
}

func (a *asker) status(path string, status int) error {
	response, text, err := a.do("GET", path, nil, nil)
	return expect(response, err, status, text, "")
}

func content() ([]byte, string) {
	body := bytes.Repeat([]byte("The quick brown fox. "), large/21)
	sum := sha256.Sum256(body)
	return body, hex.EncodeToString(sum[:])
}

func (a *asker) post() error {
	body, sum := content()
	response, text, err := a.do("POST", "/sum", bytes.NewReader(body), nil)
	return expect(response, err, 200, text, sum)
}

func (a *asker) chunked() error {
	body, sum := content()
	response, text, err := a.do("POST", "/sum", io.NopCloser(bytes.NewReader(body)), nil)
	return expect(response, err, 200, text, sum)
}

func (a *asker) download() error {
	_, text, err := a.do("GET", "/large", nil, nil)
	if err == nil && len(text) != large {
		err = fmt.Errorf("%d bytes", len(text))
	}
	return err
}

func (a *asker) trailersOut() error {
	response, _, err := a.do("POST", "/sum", io.NopCloser(strings.NewReader("body")), func(request *http.Request) {
		request.Trailer = http.Header{"X-Sum": {"of body"}}
	})
	if err == nil && response.Header.Get("X-Trailer") != "of body" {
		err = errors.New("the server got no trailer")
	}
	return err
}

func (a *asker) trailersIn() error {
	response, text, err := a.do("GET", "/trailers", nil, func(request *http.Request) { request.Header.Set("TE", "trailers") })
	if err := expect(response, err, 200, text, "body"); err != nil {
		return err
	}
	if response.Trailer.Get("X-Sum") != "of body" {
		return fmt.Errorf("trailers %v", response.Trailer)
	}
	return nil
}

func (a *asker) expectContinue() error {
	continued := false
	trace := &httptrace.ClientTrace{Got100Continue: func() { continued = true }}
	response, text, err := a.do("POST", "/sum", strings.NewReader("body"), func(request *http.Request) {
		request.Header.Set("Expect", "100-continue")
		*request = *request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
	})
	sum := sha256.Sum256([]byte("body"))
	if err := expect(response, err, 200, text, hex.EncodeToString(sum[:])); err != nil {
		return err
	}
	if !continued {
		return errors.New("no 100")
	}
	return nil
}

func (a *asker) expectRefused() error {
	response, text, err := a.do("POST", "/refuse", bytes.NewReader(make([]byte, large)), func(request *http.Request) {
		request.Header.Set("Expect", "100-continue")
	})
	return expect(response, err, 413, text, "too large\n")
}

func (a *asker) earlyHints() error {
	hints := 0
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code == 103 && header.Get("Link") != "" {
			hints++
		}
		return nil
	}}
	response, text, err := a.do("GET", "/hints", nil, func(request *http.Request) {
		*request = *request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
	})
	if err := expect(response, err, 200, text, "hello"); err != nil {
		return err
	}
	if hints != 1 {
		return fmt.Errorf("%d hints", hints)
	}
	return nil
}

func (a *asker) fields() error {
	response, _, err := a.do("GET", "/fields", nil, func(request *http.Request) {
		for i := range 60 {
			request.Header.Add("X-Many", fmt.Sprint(i, strings.Repeat("x", 200)))
		}
		request.Header.Set("Cookie", "a=1; b=2; c=3")
	})
	if err != nil {
		return err
	}
	if len(response.Header["X-Many"]) != 60 || response.Header.Get("X-Cookie") != "a=1; b=2; c=3" {
		return fmt.Errorf("%d fields, cookie %q", len(response.Header["X-Many"]), response.Header.Get("X-Cookie"))
	}
	return nil
}

func (a *asker) many() error {
	var group sync.WaitGroup
	failures := make(chan error, 1000)
	for range 50 {
		group.Go(func() {
			for range 10 {
				if err := a.hello(); err != nil {
					failures <- err
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-failures:
		return fmt.Errorf("%d failed: %w", len(failures)+1, err)
	default:
		return nil
	}
}

func (a *asker) talk() error {
	reader, writer := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "POST", a.base+"/talk", reader)
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for i := range 20 {
		fmt.Fprintln(writer, i)
		if !lines.Scan() || lines.Text() != fmt.Sprint("you said ", i) {
			return fmt.Errorf("line %d: %q %v", i, lines.Text(), lines.Err())
		}
	}
	writer.Close()
	if lines.Scan() {
		return fmt.Errorf("more: %q", lines.Text())
	}
	return lines.Err()
}

// The server's handler ends when its client goes away, so that the next request is not held.
func (a *asker) cancel() error {
	for range 30 {
		ctx, cancel := context.WithCancel(context.Background())
		request, _ := http.NewRequestWithContext(ctx, "GET", a.base+"/hold", nil)
		response, err := a.client.Do(request)
		cancel()
		if err != nil {
			return err
		}
		response.Body.Close()
	}
	return a.hello()
}

func (a *asker) upgrade() error {
	target, _ := url.Parse(a.base)
	var conn net.Conn
	var err error
	if target.Scheme == "https" {
		conn, err = tls.Dial("tcp", target.Host, &tls.Config{InsecureSkipVerify: true})
	} else {
		conn, err = net.Dial("tcp", target.Host)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", target.Host)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != 101 || response.Header.Get("Upgrade") != "echo" {
		return fmt.Errorf("%v %v", response, err)
	}
	sent := bytes.Repeat([]byte("0123456789"), 100000)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(got, sent) {
		return fmt.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
	return nil
}

func ask(version, base string, without []string) int {
	var chosen http.Protocols
	chosen.SetHTTP1(version == "h1")
	chosen.SetUnencryptedHTTP2(version == "h2")
	chosen.SetHTTP2(version == "h2")
	transport := &http.Transport{Protocols: &chosen, ExpectContinueTimeout: 20 * time.Second, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 100}
	a := &asker{base: base, client: &http.Client{Transport: transport}, h2: version == "h2"}
	scenarios := []struct {
		name string
		only string
		run  func() error
	}{
		{"GET", "", a.hello}, {"HEAD", "", a.head}, {"204", "", func() error { return a.status("/204", 204) }},
		{"304", "", func() error { return a.status("/304", 304) }}, {"POST of 8 MiB", "", a.post},
		{"POST of 8 MiB, chunked", "", a.chunked}, {"GET of 8 MiB", "", a.download},
		{"trailers of a request", "", a.trailersOut}, {"trailers of an answer", "", a.trailersIn},
		{"Expect: 100-continue", "", a.expectContinue}, {"Expect, refused", "", a.expectRefused},
		{"103", "", a.earlyHints}, {"60 fields", "", a.fields}, {"500 GETs, 50 at a time", "", a.many},
		{"both ways at once", "h2", a.talk}, {"30 that are cancelled", "", a.cancel}, {"upgrade", "h1", a.upgrade},
	}
	failed, count := 0, 0
	for _, scenario := range scenarios {
		if scenario.only != "" && scenario.only != version || slices.Contains(without, scenario.name) {
			continue
		}
		count++
		if err := scenario.run(); err != nil {
			fmt.Printf("%s: %v\n", scenario.name, err)
			failed++
		}
	}
	fmt.Printf("%d of %d scenarios\n", count-failed, count)
	return failed
}

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		fmt.Fprintln(os.Stderr, serve(os.Args[2], os.Args[3]))
		os.Exit(1)
	case len(os.Args) >= 4 && os.Args[1] == "ask":
		if ask(os.Args[2], os.Args[3], os.Args[4:]) > 0 {
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: peer serve h1|h2|both ADDRESS | peer ask h1|h2 URL [NAME…]")
		os.Exit(2)
	}
}
