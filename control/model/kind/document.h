/* Of a document the part that the kinds differ in. Metadata is read by reader.c. Private to the readers of kinds. */
#ifndef CONTROL_MODEL_KIND_DOCUMENT_H
#define CONTROL_MODEL_KIND_DOCUMENT_H

#include "control/model/object.h"

/* Gateway API: "spec", which is required, through a table into the kind's struct. */
int control_read_spec(struct fl_reader *reader, const struct fl_json *document, const struct fl_table *table,
                      void *target);
/* fairlead.io: the whole document: apiVersion, kind, metadata, spec, and a status that is nobody's business here;
 * nothing else. Without a spec the target stays as it is. */
int control_read_document(struct fl_reader *reader, const struct fl_json *document, const struct fl_table *spec_table,
                          void *target);

#endif
