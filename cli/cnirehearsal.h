/* An installation rehearsed: the installer itself, let at copies of a node's two folders in a temporary place. What it
 * does there is what it would do; nothing of the node is written.
 *
 * Copied are the files of the folder of configurations that a runtime or the installer reads. The folder of plugins
 * starts empty: what is in force there is asked for by cni_payload_check. */
#ifndef CLI_CNIREHEARSAL_H
#define CLI_CNIREHEARSAL_H

#include "cni/install/install.h"
#include "common/base/buf.h"

struct cli_rehearsed {
    char root[64], conf_dir[80], bin_dir[80]; /* copies; "" until they are made */
    const char *real_conf_dir;                /* borrowed */
    bool there;                               /* the node has that folder */
};

/* 0, or a negative errno. Whatever it was, cli_rehearsed_done removes what was made. */
int cli_rehearsed_make(const char *conf_dir, bool bin_dir, struct cli_rehearsed *ret, struct fl_err *err) FL_MUST_CHECK;
void cli_rehearsed_done(struct cli_rehearsed *rehearsed);

/* Appends a line for each file that is not as in the node's folder: "would write NAME", and its new text; "would remove
 * NAME". *ret_count: how many. 0 or a negative errno. */
int cli_rehearsed_compare(const struct cli_rehearsed *rehearsed, struct fl_buf *out, size_t *ret_count,
                          struct fl_err *err) FL_MUST_CHECK;

/* The text with the node's paths in place of the copies'. In place; `size` of the buffer. */
void cli_rehearsed_rename(const struct cli_rehearsed *rehearsed, char *text, size_t size);

#endif
