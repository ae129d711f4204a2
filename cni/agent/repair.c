#include "cni/agent/repair.h"

#include <errno.h>

static const char *const kind_names[] = {
#define X(symbol, word) [CNI_REPAIR_##symbol] = word,
    CNI_REPAIR_KINDS(X)
#undef X
};

struct cni_repair {
    struct fl_loop *loop;
    struct cni_repair_settings settings;
    struct cni_repair_counts counts;
};

const char *cni_repair_kind_name(enum cni_repair_kind kind)
{
    return kind_names[kind];
}

int cni_repair_new(struct fl_loop *loop, const struct cni_repair_settings *settings, struct cni_repair **ret_repair,
                   struct fl_err *err)
{
    struct cni_repair *repair = calloc(1, sizeof(*repair));
    if (repair == NULL)
        return fl_err_errno(err, -ENOMEM, "repair");
    repair->loop = loop;
    repair->settings = *settings;
    *ret_repair = repair;
    return 0;
}

struct cni_repair *cni_repair_free(struct cni_repair *repair)
{
    free(repair);
    return NULL;
}

void cni_repair_look(struct cni_repair *repair)
{
    (void)repair;
}

void cni_repair_count(const struct cni_repair *repair, struct cni_repair_counts *ret_counts)
{
    *ret_counts = repair->counts;
}

const char *cni_repair_scan_reason(const struct cni_repair *repair)
{
    (void)repair;
    return "";
}
