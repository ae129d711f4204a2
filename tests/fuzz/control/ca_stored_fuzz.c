/* Secrets as the API server has them: what is read can be planned with, and what is written is JSON again. */
#include "common/doc/json.h"
#include "control/ca/stored.h"

#include <stdlib.h>

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_rotation_root roots[CONTROL_ROOTS_MAX + 1];
    struct control_stored stored;
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    struct fl_buf out;
    if (control_stored_read(fl_span_make(data, size), &stored, &err) != 0)
        return 0;
    if (!stored.there || stored.version[0] == '\0')
        abort();
    if (control_stored_roots(&stored, roots, &err) == 0) {
        struct control_rotation plan = control_rotation_plan(roots, 86400, 86400, false, NOW);
        if (plan.make > CONTROL_ROOTS_MAX || (plan.make > 0 && roots[plan.make].there))
            abort();
        for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++)
            if ((plan.drop & 1u << number) != 0 && !roots[number].there)
                abort();
    }
    fl_buf_init(&out, 4u << 20);
    if (control_stored_print(&stored, "n", "s", (1u << CONTROL_STORED_FILES) - 1, &out) != 0 ||
        fl_json_parse(fl_buf_span(&out), NULL, &root, NULL) != 0)
        abort();
    fl_json_free(root);
    fl_buf_done(&out);
    control_stored_done(&stored);
    return 0;
}
