/* fairlead cni verify: is this pod captured now? Two proofs, each of which can fail alone: the rules in the pod's
 * network namespace read back and compared with the plan of its capture spec, and a dial that goes through them
 * (cni/capture/probe.h). Nothing is changed. */
#include "cli/cni.h"
#include "cli/cnisubject.h"
#include "cli/cniverdict.h"

#include "cni/capture/apply.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define NAME "cni verify"

static const char usage[] =
    "usage: fairlead cni verify --pod NAMESPACE/NAME | --pid N | --netns PATH | --all  [option …]\n"
    "\n"
    "Is this pod captured now? Run as root on the pod's node. The rules in its network namespace are read and "
    "compared\n"
    "with what its capture spec means, and 127.0.0.6:15002 (and [::6]:15002) is dialled from inside: a rule must lead\n"
    "the dial to the sidecar's port. Nothing is changed. The host's own network namespace is refused.\n"
    "\n"
    "      --pod NAMESPACE/NAME  a pod whose sidecar runs on this node\n"
    "      --pid N               a process's network namespace\n"
    "      --netns PATH          a network namespace, such as /var/run/netns/cni-…\n"
    "      --all                 every pod of this node that has a sidecar\n"
    "      --spec FILE           the capture spec (annotation fairlead.io/capture; \"-\": standard input); without it\n"
    "                            the one in the environment of the sidecar that runs there\n"
    "  -o, --output FORMAT       table (default) or json\n"
    "  -h, --help                this text\n"
    "\n"
    "Exit status: 0 captured, each of them; 1 not, or it could not be found out; 2 wrong usage.\n";

struct command {
    const char *pod, *netns, *spec_file;
    pid_t pid;
    bool all, json;
    struct fl_buf spec;               /* of spec_file */
    struct cli_cni_verdict *verdicts; /* owned */
    size_t count, room;
    int result; /* -ENOMEM: a verdict is lost */
};

/* --- one of them --- */

/* 0, or a negative errno. The largest plan takes 30 KB. */
static int make_plan(struct fl_span spec, struct fl_capture *capture, struct cni_plan **ret_plan, struct fl_err *err)
{
    int result = fl_capture_parse(spec, capture, err);
    if (result < 0)
        return fl_err_prefix(err, "the capture spec");
    FL_CLEANUP(fl_cleanup_free) struct cni_plan *plan = malloc(sizeof(*plan));
    if (plan == NULL || cni_plan_build(capture, plan) < 0)
        return fl_err_errno(err, -ENOMEM, "the plan");
    *ret_plan = fl_take(plan);
    return 0;
}

static int look(struct fl_span spec, int netns, struct cli_cni_verdict *verdict)
{
    FL_CLEANUP(fl_cleanup_free) struct cni_plan *plan = NULL;
    FL_CLEANUP(fl_cleanup_free) struct fl_capture *capture = malloc(sizeof(*capture));
    if (capture == NULL)
        return fl_err_errno(&verdict->err, -ENOMEM, "the capture spec");
    int result = make_plan(spec, capture, &plan, &verdict->err);
    if (result == 0)
        result = cni_probe_run(netns, capture, &verdict->probe, &verdict->err);
    if (result == 0)
        result = cni_apply_check(netns, CNI_BACKEND_AUTO, plan, &verdict->err);
    verdict->looked = result >= 0;
    verdict->as_planned = result == 0;
    return result;
}

static void name_verdict(const struct command *command, const struct cli_subject *subject,
                         struct cli_cni_verdict *verdict)
{
    if (subject->sidecar)
        snprintf(verdict->name, sizeof(verdict->name), "%s/%s", subject->claim.pod_namespace, subject->claim.pod);
    else if (command->netns != NULL)
        snprintf(verdict->name, sizeof(verdict->name), "%s", command->netns);
    else
        snprintf(verdict->name, sizeof(verdict->name), "pid %d", (int)subject->pid);
}

static void judge(void *context, struct cli_subject *subject)
{
    struct command *command = context;
    if (command->count == command->room) {
        size_t room = 2 * command->room + 1;
        struct cli_cni_verdict *verdicts = realloc(command->verdicts, room * sizeof(*verdicts));
        if (verdicts == NULL) {
            command->result = -ENOMEM;
            return;
        }
        command->verdicts = verdicts;
        command->room = room;
    }
    struct cli_cni_verdict *verdict = &command->verdicts[command->count++];
    *verdict = (struct cli_cni_verdict){.pid = subject->pid, .netns = subject->inode, .err = subject->err};
    name_verdict(command, subject, verdict);
    struct fl_span spec = command->spec_file != NULL ? fl_buf_span(&command->spec)
                          : subject->sidecar         ? fl_span_make(subject->claim.capture, subject->claim.capture_len)
                                                     : FL_SPAN("");
    if (subject->netns < 0)
        return;
    if (spec.len == 0 && verdict->err.text[0] == '\0')
        fl_err_set(&verdict->err, -ENOENT,
                   "no sidecar runs in that network namespace: it is not of the mesh, or --spec has to tell what "
                   "should be captured");
    if (spec.len > 0) {
        verdict->err = (struct fl_err){0};
        (void)!look(spec, subject->netns, verdict);
    }
}

/* --- all that were asked for --- */

static int find_with(struct command *command, struct cli_subjects *subjects, struct fl_err *err)
{
    struct cli_subject subject;
    if (command->pod != NULL || command->all) {
        int found = cli_subjects_visit(subjects, command->pod, judge, command, err);
        if (found == 0 && command->all)
            return fl_err_set(err, -ENOENT, "no sidecar runs on this node");
        if (found == 0)
            return fl_err_set(err, -ENOENT, "no sidecar of %s runs on this node", command->pod);
        return found < 0 ? found : 0;
    }
    if (command->netns != NULL)
        cli_subject_of_path(subjects, command->netns, &subject);
    else
        cli_subject_of_pid(subjects, command->pid, &subject);
    judge(command, &subject);
    cli_subject_done(&subject);
    return 0;
}

static int find(struct command *command, struct fl_err *err)
{
    struct cli_subjects *subjects = NULL;
    int result = cli_subjects_new(&subjects, err);
    if (result == 0)
        result = find_with(command, subjects, err);
    cli_subjects_free(subjects);
    return result;
}

static int read_spec(struct command *command, struct fl_err *err)
{
    if (command->spec_file == NULL)
        return 0;
    bool standard = strcmp(command->spec_file, "-") == 0;
    int result =
        standard ? fl_buf_read_fd(&command->spec, STDIN_FILENO) : fl_buf_read_file(&command->spec, command->spec_file);
    if (result < 0)
        return fl_err_errno(err, result, "%s", standard ? "standard input" : command->spec_file);
    while (command->spec.len > 0 && strchr(" \t\r\n", command->spec.data[command->spec.len - 1]) != NULL)
        command->spec.len--;
    return command->spec.len > 0 ? 0 : fl_err_set(err, -EINVAL, "%s: there is no capture spec", command->spec_file);
}

static int answer(const struct command *command, struct fl_err *err)
{
    struct fl_buf out;
    fl_buf_init(&out, CLI_SUBJECTS_MAX * sizeof(struct cli_cni_verdict));
    int result = command->result;
    if (result == 0)
        result = cli_cni_verdicts_print(command->verdicts, command->count, command->json, &out);
    if (result < 0)
        (void)fl_err_errno(err, result, "the answer");
    else if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        result = fl_err_set(err, -EIO, "the output could not be written");
    fl_buf_done(&out);
    return result;
}

static int run(struct command *command)
{
    struct fl_err err = {0};
    fl_buf_init(&command->spec, FL_CAPTURE_TEXT_MAX);
    int result = read_spec(command, &err);
    if (result == 0)
        result = find(command, &err);
    if (result == 0)
        result = answer(command, &err);
    bool captured = result == 0;
    for (size_t i = 0; i < command->count; i++)
        captured &= cli_cni_judge(&command->verdicts[i]) == CLI_CNI_CAPTURED;
    free(command->verdicts);
    fl_buf_done(&command->spec);
    if (result < 0)
        return cli_failed(NAME, err.text);
    return captured ? CLI_OK : CLI_FAILED;
}

/* --- options --- */

static bool is_pod(struct fl_span text)
{
    size_t slash = fl_span_find(text, '/');
    return slash > 0 && slash + 1 < text.len;
}

/* -1: go on; else the exit status. */
static int read_option(int option, struct command *command)
{
    uint64_t pid;
    switch (option) {
    case 'P':
        command->pod = optarg;
        return is_pod(fl_span_str(optarg)) ? -1 : cli_wrong(NAME, "expected --pod NAMESPACE/NAME, got \"%s\"", optarg);
    case 'p':
        if (!fl_span_to_u64(fl_span_str(optarg), INT_MAX, &pid) || pid == 0)
            return cli_wrong(NAME, "expected --pid with a process id, got \"%s\"", optarg);
        command->pid = (pid_t)pid;
        return -1;
    case 'n':
        command->netns = optarg;
        return -1;
    case 'A':
        command->all = true;
        return -1;
    case 's':
        command->spec_file = optarg;
        return -1;
    case 'o':
        return cli_take_output(NAME, optarg, &command->json);
    case 'h':
        return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
    default:
        return CLI_USAGE;
    }
}

int cli_cni_verify(int argc, char **argv)
{
    static const struct option options[] = {
        {"pod", required_argument, NULL, 'P'},   {"pid", required_argument, NULL, 'p'},
        {"netns", required_argument, NULL, 'n'}, {"all", no_argument, NULL, 'A'},
        {"spec", required_argument, NULL, 's'},  {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    struct command command = {0};
    int option;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        int status = read_option(option, &command);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return cli_wrong(NAME, "unexpected argument \"%s\"", argv[optind]);
    if ((command.pod != NULL) + (command.pid > 0) + (command.netns != NULL) + command.all != 1)
        return cli_wrong(NAME, "expected one of --pod, --pid, --netns, --all");
    return run(&command);
}
