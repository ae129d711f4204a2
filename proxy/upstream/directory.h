/* The directory: how a worker gets to know a destination that the configuration does not have yet (discovery on
 * demand). Header only; the main thread's side (config/subscribe) implements it.
 *
 *   worker:       a connection to a destination without a listener is parked, and asks
 *   main thread:  subscribes to it, and in the end either publishes a snapshot that has it, or answers
 *   worker:       each snapshot that has the destination lets the connection go on; an answer decides it; after
 *                 PROXY_DIRECTORY_WAIT_MS without either it is reset
 *
 * Who asks may be forgotten (the queue is bounded): then his time runs out.
 */
#ifndef PROXY_UPSTREAM_DIRECTORY_H
#define PROXY_UPSTREAM_DIRECTORY_H

#include "proxy/net/address.h"

#define PROXY_DIRECTORY_WAIT_MS    1000u
#define PROXY_DIRECTORY_PARKED_MAX 1024u /* connections of a worker that wait; more are reset at once */
#define PROXY_DIRECTORY_QUEUE_MAX  1024u /* questions of all workers that the main thread has not taken yet */

enum proxy_directory_answer {
    PROXY_DIRECTORY_PASS = 1,   /* nobody knows it: the listener that accepted it serves it itself */
    PROXY_DIRECTORY_REFUSE = 2, /* it is reset at once */
};

struct proxy_directory {
    void *owner;
    /* On the worker's thread: somebody wants to go there. False: the question is lost (the queue is full). The same
     * question may come again and again: the main thread knows what it has asked already. */
    bool (*ask)(void *owner, const struct proxy_address *destination);
};

#endif
