/* What iptables-save shows of a netns that a container wrote into, against a plan; and the kernel's own form of it.
 * Whatever stands there, iptables-restore gets nothing but options that we write ourselves. */
#include "cni/capture/iptableskernel.h"
#include "cni/capture/iptablessave.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_span get_wanted(void)
{
    static struct fl_buf text;
    static struct cni_plan plan;
    struct fl_capture capture;
    if (text.len > 0)
        return fl_buf_span(&text);
    fl_capture_defaults(&capture);
    capture.inbound_exclude = (struct fl_port_list){.count = 1, .ranges = {{22, 25}}};
    capture.dns = capture.drop_invalid = true;
    fl_buf_init(&text, CNI_IPTABLES_TEXT_MAX);
    if (cni_plan_build(&capture, &plan) != 0 || cni_iptables_print(&plan, AF_INET, &text, NULL) != 0)
        abort();
    return fl_buf_span(&text);
}

static bool is_one_of(struct fl_span word, const char *const *names)
{
    while (*names != NULL && !fl_span_eq_str(word, *names))
        names++;
    return *names != NULL;
}

/* Words outside of quotes that begin with '-' are options. */
static void check_line(struct fl_span line)
{
    static const char *const options[] = {"-A",      "-D",          "-I",          "-X",        "-s",         "-d",
                                          "-i",      "-o",          "-p",          "-m",        "-j",         "--sport",
                                          "--dport", "--dports",    "--ctstate",   "--comment", "--to-ports", "--zone",
                                          "-",       "--uid-owner", "--gid-owner", NULL};
    bool quoted = false, begins = true;
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] < ' ' || line.data[i] > '~' || line.data[i] == '\\')
            abort();
        struct fl_span rest = fl_span_from(line, i);
        if (!quoted && begins && line.data[i] == '-' &&
            !is_one_of((struct fl_span){rest.data, fl_span_find(rest, ' ')}, options))
            abort();
        quoted ^= line.data[i] == '"';
        begins = line.data[i] == ' ';
    }
    if (quoted)
        abort();
}

static void check_transition(struct fl_span present, struct fl_span wanted)
{
    struct fl_buf input;
    struct fl_err err = {0};
    struct fl_span line;
    fl_buf_init(&input, 2 * CNI_IPTABLES_TEXT_MAX);
    int result = cni_iptables_transition(present, wanted, &input, &err);
    struct fl_span rest = fl_buf_span(&input);
    while (result == 0 && rest.len > 0 && fl_span_split(&rest, '\n', &line))
        check_line(line);
    fl_buf_done(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char comment[CNI_PLAN_COMMENT_MAX];
    struct cni_iptables_traces traces = {0};
    struct fl_err err = {0};
    struct fl_span present = fl_span_make(data, size);
    if (!cni_iptables_same(present, get_wanted(), &err) && err.text[0] == '\0')
        abort();
    check_transition(present, get_wanted());
    check_transition(get_wanted(), present);
    check_transition(present, (struct fl_span){0});
    (void)cni_iptables_comment(present, comment);
    FL_CLEANUP(fl_cleanup_free) char *entries = malloc(size > 0 ? size : 1);
    if (entries == NULL)
        return 0;
    memcpy(entries, data, size);
    cni_iptables_kernel_scan(CNI_IPV4, entries, size, &traces);
    cni_iptables_kernel_scan(CNI_IPV6, entries, size, &traces);
    return 0;
}
