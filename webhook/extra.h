/* What an operator may add to the sidecar beyond its own: environment, volumes, mounts. Their shape and what they may
 * not do: bear our names, lie over our paths, reach the node's files, or get a token that is for our CA. Pure. */
#ifndef WEBHOOK_EXTRA_H
#define WEBHOOK_EXTRA_H

#include "common/doc/table.h"

/* 0 or -EINVAL with the path. What is NULL is fine. */
int webhook_extra_env_check(struct fl_reader *reader, const struct fl_json *value) FL_MUST_CHECK;
int webhook_extra_volumes_check(struct fl_reader *reader, const struct fl_json *value) FL_MUST_CHECK;
int webhook_extra_mounts_check(struct fl_reader *reader, const struct fl_json *value) FL_MUST_CHECK;

/* Volumes that passed their check: none projects a service-account token for `audience`, and none is a hostPath unless
 * that is allowed. 0 or -EINVAL. */
int webhook_extra_reach_check(const struct fl_json *volumes, struct fl_span audience, bool host_path,
                              struct fl_err *err) FL_MUST_CHECK;

#endif
