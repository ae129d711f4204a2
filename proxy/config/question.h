/* Questions of workers to the main thread: destinations that they do not know. A bounded queue behind a mutex that
 * nobody holds for long, and an eventfd that wakes the main thread. */
#ifndef PROXY_CONFIG_QUESTION_H
#define PROXY_CONFIG_QUESTION_H

#include "common/loop/loop.h"
#include "proxy/upstream/directory.h"

struct proxy_questions;

/* on_question: on the loop's thread, once for each that was asked. 0, -ENOMEM, -errno. */
int proxy_questions_new(struct fl_loop *loop, void (*on_question)(void *owner, const struct proxy_address *destination),
                        void *owner, struct proxy_questions **ret_questions) FL_MUST_CHECK;
/* No worker may ask any more. NULL is allowed; returns NULL. */
struct proxy_questions *proxy_questions_free(struct proxy_questions *questions);

/* Any thread's. False: PROXY_DIRECTORY_QUEUE_MAX wait already, or no memory. A question that waits already is not put
 * twice. */
bool proxy_questions_ask(struct proxy_questions *questions, const struct proxy_address *destination);

#endif
