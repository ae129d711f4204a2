/* A folder for a test, and files in it. Everything asserts. */
#ifndef TESTS_UNIT_CONTROL_CA_FOLDER_H
#define TESTS_UNIT_CONTROL_CA_FOLDER_H

#include "common/base/span.h"

#include <limits.h>
#include <sys/types.h>

struct folder {
    char path[256];
    char text[PATH_MAX]; /* what folder_path gave last */
};

void folder_init(struct folder *folder);
void folder_done(struct folder *folder); /* with every file in it */
const char *folder_path(struct folder *folder, const char *name);
void folder_write(struct folder *folder, const char *name, struct fl_span content, mode_t mode);
void folder_remove(struct folder *folder, const char *name);

#endif
