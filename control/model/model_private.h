/* The inside of a model, for store.c, which makes them. */
#ifndef CONTROL_MODEL_MODEL_PRIVATE_H
#define CONTROL_MODEL_MODEL_PRIVATE_H

#include "control/model/index.h"
#include "control/model/model.h"

struct control_model {
    atomic_uint references;
    uint64_t version;
    struct control_index *indexes[CONTROL_INDEX_COUNT];
    struct control_problems *problems; /* NULL: none */
    struct fl_span issuer;             /* store.h */
    char root[64];                     /* a namespace */
    bool holds;                        /* the references on the objects of CONTROL_INDEX_ALL were taken */
};

/* Zeroed, with one reference. NULL: memory is out. */
struct control_model *control_model_new(void);
void control_model_hold(struct control_model *model); /* takes the references on its objects */

#endif
