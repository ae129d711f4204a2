/* Folders of a test: paths in them, files put there and read back, and everything gone in the end. Whatever fails fails
 * the test. For one thread. */
#ifndef TESTS_SUPPORT_FOLDER_H
#define TESTS_SUPPORT_FOLDER_H

#include "common/base/span.h"

#define FOLDER_TEXT_MAX 4096 /* bytes that folder_get reads, its NUL included */

/* "folder/name", of at most PATH_MAX bytes. One of four static buffers, in turn; `folder` may be another one of these:
 * folder_in(folder_in(top, "files"), "x"). */
const char *folder_in(const char *folder, const char *name);

/* Makes the file, or writes into the one that is there (the same inode: no rename). */
void folder_put(const char *folder, const char *name, struct fl_span bytes);
void folder_put_str(const char *folder, const char *name, const char *text);

/* The file's text, in one static buffer; NULL: not there, or not readable. One that is longer than FOLDER_TEXT_MAX - 1
 * is cut. */
const char *folder_get(const char *folder, const char *name);

/* Removes a folder and all that is in it, links not followed; none: fine. */
void folder_remove(const char *folder);

#endif
