/* fairlead-cni: a chained CNI plugin. A runtime executes it on the host once per verb, without arguments; what it is to
 * do stands in the environment and on stdin, its answer goes to stdout, and a line for people to stderr where
 * something failed. */
#include "cni/plugin/netconf.h"
#include "cni/plugin/verbs.h"
#include "common/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>

#define OUTPUT_MAX (8u * CNI_NETCONF_BYTES_MAX) /* escapes make text longer */

static const char usage[] =
    "fairlead-cni: captures a pod's traffic for its sidecar, inside the pod's network namespace.\n"
    "\n"
    "A container runtime runs it as a chained CNI plugin (spec 0.3.0 to 1.1.0), without arguments, as\n"
    "    {\"type\": \"fairlead-cni\", \"capabilities\": {\"io.kubernetes.cri.pod-annotations\": true}}\n"
    "in a list of plugins asks. The verb and its subject come in CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS and\n"
    "CNI_IFNAME, the configuration on stdin; the answer goes to stdout, logs to stderr.\n"
    "\n"
    "  --log-format json|text   how log lines look (json)\n"
    "  --help                   this text\n"
    "  --version                the version\n"
    "\n"
    "Exit codes: 0 done, 1 an error object is on stdout, 2 usage.\n";

/* -1: go on; otherwise the exit code. */
static int parse_options(int argc, char **argv, enum fl_log_format *ret_format)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {"log-format", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'h':
            return fputs(usage, stdout) < 0 || fflush(stdout) != 0;
        case 'v':
            return puts("fairlead-cni " FL_VERSION) < 0 || fflush(stdout) != 0;
        case 'f':
            if (fl_log_format_parse(fl_span_str(optarg), ret_format))
                break;
            fprintf(stderr, "fairlead-cni: --log-format: expected json or text, got \"%s\"\n", optarg);
            return 2;
        default:
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "fairlead-cni: unexpected argument \"%s\"; see --help\n", argv[optind]);
    return 2;
}

/* What a failed read or write of a runtime's pipe says: the pipe may be one that does not block. */
static int wait_for(int fd, short events)
{
    struct pollfd polled = {.fd = fd, .events = events};
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN)
        return -errno;
    return poll(&polled, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int read_all(int fd, struct fl_buf *buf)
{
    char bytes[16384];
    int result = 0;
    while (result == 0) {
        ssize_t size = read(fd, bytes, sizeof(bytes));
        if (size == 0)
            return 0;
        result = size > 0 ? fl_buf_append(buf, fl_span_make(bytes, (size_t)size)) : wait_for(fd, POLLIN);
    }
    return result;
}

static int write_all(int fd, struct fl_span bytes)
{
    int result = 0;
    while (result == 0 && bytes.len > 0) {
        ssize_t size = write(fd, bytes.data, bytes.len);
        if (size >= 0)
            bytes = fl_span_from(bytes, (size_t)size);
        else
            result = wait_for(fd, POLLOUT);
    }
    return result;
}

static void log_outcome(const struct cni_environment *environment, const struct fl_err *err, int exit_code)
{
    enum fl_log_level level = exit_code != 0 ? FL_LOG_ERROR : FL_LOG_WARNING;
    if (err->code == 0)
        return;
    fl_log(level, exit_code != 0 ? "failed" : "succeeds all the same", FL_LOG_STR("verb", environment->command),
           FL_LOG_STR("container", environment->container_id), FL_LOG_STR("netns", environment->netns),
           FL_LOG_STR("args", environment->args), FL_LOG_STR("reason", err->text));
}

int main(int argc, char **argv)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf config, output;
    enum fl_log_format format = FL_LOG_JSON;
    struct fl_err err = {0};
    int exit_code = parse_options(argc, argv, &format);
    fl_buf_init(&config, CNI_NETCONF_BYTES_MAX);
    fl_buf_init(&output, OUTPUT_MAX);
    if (exit_code >= 0)
        return exit_code;
    fl_log_open("fairlead-cni", STDERR_FILENO, format, FL_LOG_INFO);

    const struct cni_environment environment = {getenv("CNI_COMMAND"), getenv("CNI_CONTAINERID"), getenv("CNI_NETNS"),
                                                getenv("CNI_IFNAME"), getenv("CNI_ARGS")};
    int result = read_all(STDIN_FILENO, &config);
    if (result < 0) {
        fl_err_errno(&err, result, "read the network configuration from stdin (at most %u bytes)",
                     CNI_NETCONF_BYTES_MAX);
        exit_code = 1;
        result = cni_verbs_print_error(FL_SPAN(""), CNI_CODE_IO, "input or output failed", err.text, &output);
    } else {
        exit_code = cni_verbs_run(&environment, fl_buf_span(&config), &output, &err);
    }
    log_outcome(&environment, &err, exit_code);
    if (exit_code != 0 && output.len == 0)
        return write_all(STDOUT_FILENO, FL_SPAN("{\"cniVersion\":\"" CNI_NETCONF_VERSION_LATEST
                                                "\",\"code\":5,\"msg\":\"out of memory\"}\n")),
               1;
    result = write_all(STDOUT_FILENO, fl_buf_span(&output));
    return result < 0 ? 1 : exit_code;
}
