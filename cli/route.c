/* fairlead route explain: which rule would a request hit, and why. Reads the objects as the control plane does, and
 * asks the list of rules that it makes its resources from. */
#include "cli/command.h"

#include "control/model/explain.h"
#include "control/model/store.h"
#include "control/source/directory.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME        "route"
#define HEADERS_MAX 32
#define ARENA_MAX   (64u << 20)
#define OUTPUT_MAX  (4u << 20)

static const char usage[] =
    "usage: fairlead route explain --source directory:PATH SERVICE[.NAMESPACE]:PORT [PATH] [option …]\n"
    "\n"
    "Which rule would a request to a Service's port hit, and why. PATH may have a query; default /. Gateways cannot "
    "be\n"
    "explained yet.\n"
    "\n"
    "      --source directory:PATH  the objects, as fairlead-control reads them\n"
    "  -n, --from NAMESPACE         the client's namespace: routes of its own count there; default: the Service's\n"
    "  -X, --method METHOD          default GET\n"
    "  -H, --header 'NAME: VALUE'   a field of the request; may be given again, up to 32 times\n"
    "  -h, --help                   this text\n";

struct question {
    const char *source;
    struct fl_span service, name_space, from;
    uint16_t port;
    struct control_name_value headers[HEADERS_MAX];
    struct control_request request;
};

static void cleanup_loop(struct fl_loop **loop)
{
    fl_loop_free(*loop);
}

static void cleanup_store(struct control_store **store)
{
    control_store_free(*store);
}

static void cleanup_directory(struct control_directory **directory)
{
    control_directory_close(*directory);
}

static void on_commit(void *context, const struct control_diff *diff)
{
    (void)context;
    (void)diff;
}

static int print_routes(const struct control_service_routes *routes, const struct question *question,
                        struct fl_buf *out)
{
    int result = 0;
    switch (routes->routing) {
    case CONTROL_ROUTING_HTTP:
        return control_route_explain(&routes->http, &question->request, out);
    case CONTROL_ROUTING_TCP:
        result = fl_buf_printf(out, "TCPRoute %.*s/%.*s takes the whole port, whatever the request:\n",
                               FL_SPAN_ARG(routes->tcp_route->object.metadata.name_space),
                               FL_SPAN_ARG(routes->tcp_route->object.metadata.name));
        for (size_t i = 0; result == 0 && i < routes->tcp.count; i++) {
            const struct control_destination *to = &routes->tcp.items[i];
            if (to->error != CONTROL_BACKEND_OK)
                result = fl_buf_printf(out, "  %u of %llu: none (%s)\n", to->weight,
                                       (unsigned long long)routes->tcp.total, control_backend_reason(to->error));
            else
                result = fl_buf_printf(out, "  %u of %llu: Service %.*s/%.*s port %u\n", to->weight,
                                       (unsigned long long)routes->tcp.total,
                                       FL_SPAN_ARG(to->service->object.metadata.name_space),
                                       FL_SPAN_ARG(to->service->object.metadata.name), to->port->port);
        }
        return result;
    case CONTROL_ROUTING_NONE:
    default:
        return fl_buf_printf(out,
                             "no route is bound to Service %.*s/%.*s port %u as seen from namespace %.*s: the request "
                             "goes straight to the Service's endpoints\n",
                             FL_SPAN_ARG(question->name_space), FL_SPAN_ARG(question->service), question->port,
                             FL_SPAN_ARG(question->from));
    }
}

/* What the source could not take may be the reason why an answer surprises. */
static void print_problems(const struct control_model *model)
{
    const struct control_problems *problems = control_model_problems(model);
    for (size_t i = 0; problems != NULL && i < problems->count; i++)
        fprintf(stderr, "fairlead route: left out: %.*s\n", FL_SPAN_ARG(problems->items[i].text));
}

/* Rules that were dropped from the routes that name the Service, whether they are seen from there or not. */
static int print_dropped(const struct control_model *model, const struct question *question, struct fl_buf *out)
{
    struct control_objects routes =
        control_model_routes_of(model, CONTROL_SERVICE, question->name_space, question->service);
    int result = 0;
    for (size_t i = 0; i < routes.count && result == 0; i++) {
        const struct control_http_route *route = control_as_http_route(routes.items[i]);
        if (route != NULL)
            result = control_route_explain_dropped(route, out);
    }
    return result;
}

static int answer(const struct control_model *model, const struct question *question, struct fl_buf *out,
                  struct fl_err *err)
{
    const struct control_service *service = control_model_service(model, question->name_space, question->service);
    if (service == NULL)
        return fl_err_set(err, -ENOENT, "there is no Service %.*s in namespace %.*s", FL_SPAN_ARG(question->service),
                          FL_SPAN_ARG(question->name_space));
    const struct control_port *port = control_service_port(service, question->port);
    if (port == NULL)
        return fl_err_set(err, -ENOENT, "Service %.*s/%.*s has no TCP port %u", FL_SPAN_ARG(question->name_space),
                          FL_SPAN_ARG(question->service), question->port);
    struct fl_arena arena;
    struct control_service_routes routes;
    fl_arena_init(&arena, ARENA_MAX);
    int result = control_service_routes(model, service, port, question->from, &arena, &routes);
    if (result == 0)
        result = print_dropped(model, question, out);
    if (result == 0)
        result = print_routes(&routes, question, out);
    fl_arena_done(&arena);
    return result == 0 ? 0 : fl_err_errno(err, result, "the answer");
}

static int explain(const struct question *question)
{
    FL_CLEANUP(cleanup_loop) struct fl_loop *loop = NULL;
    FL_CLEANUP(cleanup_store) struct control_store *store = NULL;
    FL_CLEANUP(cleanup_directory) struct control_directory *directory = NULL;
    struct fl_err err = {0};
    struct fl_buf out;
    fl_buf_init(&out, OUTPUT_MAX);
    int result = fl_loop_new(&loop);
    if (result == 0)
        result = control_store_new(&store);
    if (result < 0)
        (void)fl_err_errno(&err, result, "start");
    else
        result = control_directory_open(loop, store, question->source, on_commit, NULL, &directory, &err);
    if (result == 0) {
        print_problems(control_store_model(store));
        result = answer(control_store_model(store), question, &out, &err);
    }
    if (result == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        result = fl_err_set(&err, -EIO, "the output could not be written");
    fl_buf_done(&out);
    return result == 0 ? CLI_OK : cli_failed(NAME, err.text);
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

/* "server.demo:8080"; a last label "svc…" is not asked for: names are the Service's and the namespace's. */
static bool read_target(const char *text, struct question *question)
{
    struct fl_span rest = fl_span_str(text), name;
    uint64_t port;
    if (!fl_span_split(&rest, ':', &name) || !fl_span_to_u64(rest, UINT16_MAX, &port) || port == 0)
        return false;
    question->port = (uint16_t)port;
    if (!fl_span_split(&name, '.', &question->service) || question->service.len == 0)
        return false;
    question->name_space = name.len > 0 ? name : FL_SPAN(CONTROL_DEFAULT_NAMESPACE);
    return fl_span_find(question->name_space, '.') == question->name_space.len;
}

static bool read_header(const char *text, struct question *question)
{
    struct fl_span rest = fl_span_str(text), name;
    if (question->request.header_count == HEADERS_MAX || !fl_span_split(&rest, ':', &name) || rest.data == NULL ||
        name.len == 0)
        return false;
    question->headers[question->request.header_count++] = (struct control_name_value){name, fl_span_trim(rest), false};
    return true;
}

/* -1: go on; else the exit status. */
static int read_option(int option, struct question *question)
{
    static const char prefix[] = "directory:";
    switch (option) {
    case 's':
        if (strncmp(optarg, prefix, sizeof(prefix) - 1) != 0)
            return cli_wrong(NAME, "expected --source directory:PATH, got \"%s\"", optarg);
        question->source = optarg + sizeof(prefix) - 1;
        return -1;
    case 'n':
        question->from = fl_span_str(optarg);
        return -1;
    case 'X':
        question->request.method = fl_span_str(optarg);
        return -1;
    case 'H':
        return read_header(optarg, question) ? -1 : cli_wrong(NAME, "expected -H 'name: value', got \"%s\"", optarg);
    case 'h':
        return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
    default:
        return CLI_USAGE;
    }
}

int cli_route(int argc, char **argv)
{
    static const struct option options[] = {
        {"source", required_argument, NULL, 's'}, {"from", required_argument, NULL, 'n'},
        {"method", required_argument, NULL, 'X'}, {"header", required_argument, NULL, 'H'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    struct question question = {.request = {.method = FL_SPAN("GET"), .path = FL_SPAN("/")}};
    question.request.headers = question.headers;
    int option;
    while ((option = getopt_long(argc, argv, "n:X:H:h", options, NULL)) != -1) {
        int status = read_option(option, &question);
        if (status >= 0)
            return status;
    }
    if (optind == argc || strcmp(argv[optind], "explain") != 0)
        return cli_wrong(NAME, "expected \"explain\"");
    if (question.source == NULL)
        return cli_wrong(NAME, "--source directory:PATH is missing");
    if (argc - optind < 2 || argc - optind > 3)
        return cli_wrong(NAME, "expected explain SERVICE[.NAMESPACE]:PORT [PATH]");
    if (strncmp(argv[optind + 1], "gateway/", strlen("gateway/")) == 0)
        return cli_wrong(NAME, "Gateways cannot be explained yet: expected SERVICE[.NAMESPACE]:PORT");
    if (!read_target(argv[optind + 1], &question))
        return cli_wrong(NAME, "expected SERVICE[.NAMESPACE]:PORT, got \"%s\"", argv[optind + 1]);
    if (argc - optind == 3)
        question.request.path = fl_span_str(argv[optind + 2]);
    if (question.from.len == 0)
        question.from = question.name_space;
    return explain(&question);
}
