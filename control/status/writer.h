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

/* Begins to bring the folder to what the model says: a round, of as many steps as it takes. A round that is under way
 * goes on to its end, with its own model: begin again then (what changed meanwhile is in the newest). */
void control_status_writer_begin(struct control_status_writer *writer, struct control_model *model);
bool control_status_writer_is_busy(const struct control_status_writer *writer);
/* Whether the folder says what this model does, as far as it could be written. */
bool control_status_writer_has(const struct control_status_writer *writer, const struct control_model *model);

/* Goes on for about so long, a file at least; 0 ns: a file. An error of one file does not keep the others from being
 * written; the first is told when the round ends. 0, -errno, -ENOMEM. */
int control_status_writer_step(struct control_status_writer *writer, uint64_t budget_ns,
                               struct fl_err *err) FL_MUST_CHECK;

#endif
