/* What the readers of a kubeconfig share: entries, their values, and errors that name file, line and column. Private to
 * this folder.
 *
 *   kubeconfig  files, contexts, clusters
 *   user        who asks: certificate, token, plugin, impersonation
 *   entry       values
 */
#ifndef FL_KUBE_ENTRY_H
#define FL_KUBE_ENTRY_H

#include "common/doc/yaml.h"
#include "common/kube/access.h"
#include "common/kube/kubeconfig.h"

/* The files of one list, each parsed; the first that holds a name wins. */
struct fl_kube_files {
    struct fl_yaml *yaml[FL_KUBECONFIG_FILES];
    const char *names[FL_KUBECONFIG_FILES];
    size_t count;
    const struct fl_kube_starter *starter; /* NULL: no plugins */
    struct fl_err *err;
};

/* An entry of contexts, clusters or users: the object behind its name, and the file that it stands in. */
struct fl_kube_entry {
    const struct fl_json *value; /* NULL: none was asked for */
    size_t file;
    struct fl_span name;
};

/* Sets "file:line:column: what" for a value of entry's file; -EINVAL or -ENOMEM. */
int fl_kube_refuse(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const struct fl_json *value,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
int fl_kube_no_memory(const struct fl_kube_files *files, const struct fl_kube_entry *entry); /* -ENOMEM, said */

/* Whether it says something: null and "" do not. */
bool fl_kube_is_set(const struct fl_json *value);

/* An absent, null or empty text is none: *ret_text is empty then. */
int fl_kube_entry_text(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *name,
                       struct fl_span *ret_text) FL_MUST_CHECK;
/* The same, copied; *ret_copy stays as it is where there is none. */
int fl_kube_entry_copy(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *name,
                       char **ret_copy) FL_MUST_CHECK;
/* `data_name` (base64) before `file_name`, as kubectl has it. */
int fl_kube_entry_material(const struct fl_kube_files *files, const struct fl_kube_entry *entry, const char *data_name,
                           const char *file_name, struct fl_kube_material *material) FL_MUST_CHECK;
/* A path as the file means it: from its own folder. NULL when memory is out. */
char *fl_kube_path_from(const char *file, struct fl_span path);

static inline bool fl_kube_has(const struct fl_kube_material *material)
{
    return material->file != NULL || material->pem.len > 0;
}

/* A user's entry into *access; of the cluster's the plugin may be told, access->server and what else is of it being
 * there already. */
int fl_kube_user_read(const struct fl_kube_files *files, const struct fl_kube_entry *user,
                      const struct fl_kube_entry *cluster, struct fl_kube_access *access) FL_MUST_CHECK;

#endif
