/* Writes reports as files status/<kind>.<namespace>.<name>.yaml into a folder of its own, which must not be inside of
 * the source's: atomically (rename), only where the text changed; files of objects that went are removed, others are
 * left alone. Problems of documents without a name go into problems.yaml. */
#ifndef CONTROL_STATUS_WRITER_H
#define CONTROL_STATUS_WRITER_H

#include "common/base/err.h"
#include "control/model/model.h"

struct control_status_writer;

/* The folder is made where it is missing (its parent must be there). 0, -errno, -ENOMEM. */
int control_status_writer_open(const char *path, struct control_status_writer **ret_writer,
                               struct fl_err *err) FL_MUST_CHECK;
struct control_status_writer *control_status_writer_close(struct control_status_writer *writer);

/* Brings the folder to what the model says. An error of one file does not keep the others from being written; the first
 * is told. 0, -errno, -ENOMEM. */
int control_status_writer_update(struct control_status_writer *writer, const struct control_model *model,
                                 struct fl_err *err) FL_MUST_CHECK;

#endif
