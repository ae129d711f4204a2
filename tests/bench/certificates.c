/* CreateCertificate against a fairlead-control of its own on loopback: connections that are kept, calls in flight on
 * each, every call with its token and its request. Prints certificates a second, and the CPU of the control plane and
 * of its issuer for each; "a core" is what one core would do if both shared it.
 *
 *     cmake --preset release -DFL_TESTS=ON && cmake --build --preset release \
 *         --target bench_certificates fairlead-control
 *     build/release/tests/bench_certificates build/release/bin/fairlead-control [CALLS [CONNECTIONS]]
 */
#include "common/grpc/client.h"
#include "common/pki/bundle.h"
#include "common/pki/csr.h"
#include "common/tls/context.h"
#include "common/xds/certificate.h"
#include "control/ca/token.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define CONNECTIONS_MAX 64
#define IN_FLIGHT       16 /* calls of a connection */

static struct fl_loop *loop;
static size_t calls = 20000, connections = 8, started, done, failed;
static char folder[] = "/tmp/fairlead-bench-XXXXXX";
static struct fl_span wire;
static struct fl_buf bearer;

struct connection {
    struct fl_grpc_client *client;
};

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
    fprintf(stderr, "certificates: %s: %s\n", what, why);
    exit(1);
}

static void start_calls(struct connection *connection);

static void on_reply(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message)
{
    (void)message;
    if (status != FL_GRPC_OK && failed++ == 0)
        fprintf(stderr, "a call failed: %s %.*s\n", fl_grpc_status_text(status), FL_SPAN_ARG(text));
    if (++done == calls)
        fl_loop_stop(loop, 0);
    else
        start_calls(owner);
}

static void start_call(struct connection *connection)
{
    const struct fl_grpc_metadata metadata = {FL_SPAN("authorization"), fl_buf_span(&bearer)};
    const struct fl_grpc_call_options options = {
        .path = FL_SPAN(FL_CERTIFICATE_PATH), .metadata = &metadata, .metadata_count = 1};
    struct fl_grpc_call *call;
    if (fl_grpc_call_unary(connection->client, &options, wire, on_reply, connection, &call) != 0)
        die("call", "refused");
    started++;
}

static void start_calls(struct connection *connection)
{
    if (started < calls)
        start_call(connection);
}

static void on_connected(void *owner)
{
    for (int i = 0; i < IN_FLIGHT; i++)
        start_calls(owner);
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    (void)owner;
    die("connection", reason->text);
}

static const char *in_folder(const char *name)
{
    static char text[PATH_MAX];
    snprintf(text, sizeof(text), "%s/%s", folder, name);
    return text;
}

/* A member of the line of its log that says "ready"; waits for it. */
static unsigned read_port(FILE *log)
{
    static char line[8192];
    while (fgets(line, sizeof(line), log) != NULL) {
        const char *port = strstr(line, "\"port\":");
        uint64_t number;
        if (strstr(line, "\"ready\"") != NULL && port != NULL &&
            fl_span_to_u64(fl_span_make(port + 7, strspn(port + 7, "0123456789")), 65535, &number))
            return (unsigned)number;
    }
    die("fairlead-control", "it did not get ready");
}

static pid_t start_control(const char *program, unsigned *ret_port)
{
    char source[PATH_MAX], ca[PATH_MAX], tokens[PATH_MAX];
    int pipes[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    snprintf(source, sizeof(source), "directory:%s", in_folder("objects"));
    mkdir(in_folder("objects"), 0700);
    snprintf(ca, sizeof(ca), "%s", in_folder("ca"));
    snprintf(tokens, sizeof(tokens), "%s", in_folder("tokens"));
    char *arguments[] = {strdup(program),
                         strdup("--source"),
                         source,
                         strdup("--listen"),
                         strdup("127.0.0.1:0"),
                         strdup("--http"),
                         strdup("none"),
                         strdup("--ca-dir"),
                         ca,
                         strdup("--token-dir"),
                         tokens,
                         strdup("--peer-rate"),
                         strdup("0"),
                         strdup("--identity-rate"),
                         strdup("0"),
                         NULL};
    if (pipe2(pipes, O_CLOEXEC) != 0 || posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, pipes[1], STDERR_FILENO) != 0 ||
        posix_spawn(&pid, program, &actions, NULL, arguments, environ) != 0)
        die(program, "cannot be started");
    close(pipes[1]);
    *ret_port = read_port(fdopen(pipes[0], "r")); /* stays open; a slow reader makes nobody wait */
    return pid;
}

static pid_t child_of(pid_t pid)
{
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "re");
    uint64_t child = 0;
    if (file == NULL || fgets(text, sizeof(text), file) == NULL ||
        !fl_span_to_u64(fl_span_make(text, strspn(text, "0123456789")), INT_MAX, &child))
        die("issuer", "not found");
    fclose(file);
    return (pid_t)child;
}

static double cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        die("CPU clock", "cannot be read");
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void make_request(struct fl_arena *arena)
{
    struct fl_key *key, *token_key;
    struct fl_buf csr;
    struct fl_err err = {0};
    const struct control_caller caller = {
        .name_space = "default", .service_account = "web", .expires = time(NULL) + 3600};
    fl_buf_init(&csr, FL_CSR_PEM_MAX);
    fl_buf_init(&bearer, CONTROL_TOKEN_MAX);
    fl_arena_init(arena, 1u << 20);
    if (fl_key_generate(&key, &err) != 0 || fl_csr_make(key, FL_SPAN("spiffe://a/b"), &csr, &err) != 0 ||
        control_token_key_open(in_folder("tokens"), &token_key, &err) != 0 ||
        fl_buf_append_str(&bearer, "Bearer ") != 0 ||
        control_token_make(token_key, &caller, "fairlead-ca", time(NULL), &bearer, &err) != 0)
        die("request", err.text);
    const struct fl_certificate_request request = {.csr = fl_buf_span(&csr)};
    if (fl_certificate_request_print(&request, arena, &wire) != 0)
        die("request", "out of memory");
}

static void connect_all(unsigned port, struct connection *all)
{
    static const struct fl_grpc_client_ops ops = {on_connected, on_lost};
    const struct fl_span alpn = FL_SPAN("h2");
    struct fl_grpc_address address;
    struct fl_bundle *bundle;
    struct fl_tls_context *context;
    struct fl_buf pem;
    struct fl_err err = {0};
    char text[32];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    fl_buf_init(&pem, 65536);
    if (fl_grpc_address_parse(fl_span_str(text), &address) != 0 ||
        fl_buf_read_file(&pem, in_folder("ca/root-cert.pem")) != 0 ||
        fl_bundle_parse(fl_buf_span(&pem), &bundle, &err) != 0)
        die("roots", err.text);
    const struct fl_tls_options tls = {.bundle = bundle, .alpn = &alpn, .alpn_count = 1};
    if (fl_tls_context_new(&tls, &context, &err) != 0)
        die("TLS", err.text);
    const struct fl_grpc_client_options options = {
        .addresses = &address, .address_count = 1, .tls = context, .authority = FL_SPAN("localhost")};
    for (size_t i = 0; i < connections; i++) {
        if (fl_grpc_client_new(loop, &options, &ops, &all[i], &all[i].client, &err) != 0 ||
            fl_grpc_client_connect(all[i].client) != 0)
            die("client", err.text);
    }
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static size_t number(const char *text, uint64_t max)
{
    uint64_t value;
    if (!fl_span_to_u64(fl_span_str(text), max, &value) || value == 0)
        die("wrong number", text);
    return value;
}

int main(int argc, char **argv)
{
    static struct connection all[CONNECTIONS_MAX];
    struct fl_arena arena;
    unsigned port;
    if (argc < 2 || mkdtemp(folder) == NULL)
        die("usage", "certificates FAIRLEAD-CONTROL [CALLS [CONNECTIONS]]");
    calls = argc > 2 ? number(argv[2], 100000000) : calls;
    connections = argc > 3 ? number(argv[3], CONNECTIONS_MAX) : connections;
    make_request(&arena);
    pid_t control = start_control(argv[1], &port), issuer = child_of(control);
    if (fl_loop_new(&loop) != 0)
        die("loop", "out of memory");
    double control_cpu = cpu_of(control), issuer_cpu = cpu_of(issuer), begin = now();
    connect_all(port, all);
    int result = fl_loop_run(loop);
    double seconds = now() - begin;
    control_cpu = cpu_of(control) - control_cpu;
    issuer_cpu = cpu_of(issuer) - issuer_cpu;
    double count = (double)calls;
    printf("%zu certificates over %zu connections, %zu failed: %.0f a second\n", calls, connections, failed,
           count / seconds);
    printf("CPU: control plane %.0f us, issuer %.0f us each: %.0f a second and core\n", control_cpu * 1e6 / count,
           issuer_cpu * 1e6 / count, count / (control_cpu + issuer_cpu));
    kill(control, SIGTERM);
    waitpid(control, NULL, 0);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return result != 0 || failed > 0;
}
