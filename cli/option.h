/* Subcommands by table: what each is called, takes and says of itself. One table gives parsing, `--help` and shell
 * completion, so that the three cannot differ.
 *
 * Errors name the flag as it was typed and tell what would be right. "--" ends the options; operands may stand between
 * them.
 */
#ifndef CLI_OPTION_H
#define CLI_OPTION_H

#include "common/base/buf.h"

#define CLI_OPTIONS_MAX    40       /* of one subcommand */
#define CLI_TIMEOUT_MS     10000u   /* --timeout's default */
#define CLI_TIMEOUT_MAX_MS 3600000u /* an hour */

enum cli_option_kind {
    CLI_OPTION_FLAG, /* bool */
    CLI_OPTION_TEXT, /* const char *, borrowed of argv */
    CLI_OPTION_FORM, /* bool: json; false for text and for its other name, table */
    CLI_OPTION_TIME, /* unsigned, milliseconds: "500ms", "10s", "2m" */
    CLI_OPTION_CALL, /* `take` is asked */
};

/* What a shell offers as value or operand. A list of words stands in `words` instead. */
enum cli_offer { CLI_OFFER_NOTHING, CLI_OFFER_FILES, CLI_OFFER_NAMESPACES, CLI_OFFER_CONTEXTS, CLI_OFFER_PODS };

struct cli_option {
    const char *name; /* "timeout" */
    char letter;      /* 0: none */
    enum cli_option_kind kind;
    size_t offset;        /* of the value in the command's settings; not for CALL */
    const char *argument; /* "TIME"; NULL for a flag */
    const char *help;     /* a line or several, '\n' between */
    /* CALL: -1: go on; else the exit status, what is wrong being said. `value` NULL for one that takes none. */
    int (*take)(void *settings, const char *command, const char *value);
    const char *words; /* "json text": the values that there are; NULL: any */
    enum cli_offer offer;
};

struct cli_command {
    const char *name;    /* "check" */
    const char *summary; /* one line, for the list of all */
    const char *usage;   /* "[option …] [POD]"; several lines: '\n' between */
    const char *about;   /* paragraphs, each line ended by '\n'; may be "" */
    const char *tail;    /* behind the options; NULL: nothing */
    const struct cli_option *options;
    size_t option_count;
    const char *words; /* its operands: the words that there are; NULL: none */
    enum cli_offer offer;
    int (*run)(int argc, char **argv);
};

/* Options that every subcommand with a cluster has: rows for a struct with the member `access` (struct cli_access). */
struct cli_access {
    const char *kubeconfig, *context, *name_space; /* NULL: not given */
    const char *kubectl;                           /* the program; NULL: "kubectl" of PATH */
    unsigned timeout_ms;                           /* of each request; 0: CLI_TIMEOUT_MS */
    bool unasked;                                  /* a key was pressed (completion): no plugin may ask, or take long */
};
#define CLI_ACCESS_OPTIONS(type, namespace_help)                                                                       \
    {.name = "namespace",                                                                                              \
     .letter = 'n',                                                                                                    \
     .kind = CLI_OPTION_TEXT,                                                                                          \
     .offset = offsetof(type, access.name_space),                                                                      \
     .argument = "NAME",                                                                                               \
     .help = (namespace_help),                                                                                         \
     .offer = CLI_OFFER_NAMESPACES},                                                                                   \
        {.name = "kubeconfig",                                                                                         \
         .kind = CLI_OPTION_TEXT,                                                                                      \
         .offset = offsetof(type, access.kubeconfig),                                                                  \
         .argument = "FILE",                                                                                           \
         .help = "default: $KUBECONFIG, ~/.kube/config",                                                               \
         .offer = CLI_OFFER_FILES},                                                                                    \
        {.name = "context",                                                                                            \
         .kind = CLI_OPTION_TEXT,                                                                                      \
         .offset = offsetof(type, access.context),                                                                     \
         .argument = "NAME",                                                                                           \
         .help = "default: the current one",                                                                           \
         .offer = CLI_OFFER_CONTEXTS},                                                                                 \
    {                                                                                                                  \
        .name = "timeout", .kind = CLI_OPTION_TIME, .offset = offsetof(type, access.timeout_ms), .argument = "TIME",   \
        .help = "for each request: 500ms, 10s (default), 2m"                                                           \
    }
/* Of those that look for the installation: members `mesh` and `revision` (CLI_MESH_OPTION: `mesh` alone), which have
 * their defaults before. */
#define CLI_MESH_NAMESPACE "fairlead-system"
#define CLI_REVISION       "default"
#define CLI_MESH_OPTION(type)                                                                                          \
    {                                                                                                                  \
        .name = "mesh-namespace", .letter = 'm', .kind = CLI_OPTION_TEXT, .offset = offsetof(type, mesh),              \
        .argument = "NAME", .help = "where the mesh runs; default: " CLI_MESH_NAMESPACE, .offer = CLI_OFFER_NAMESPACES \
    }
#define CLI_MESH_OPTIONS(type)                                                                                         \
    CLI_MESH_OPTION(type),                                                                                             \
    {                                                                                                                  \
        .name = "revision", .letter = 'r', .kind = CLI_OPTION_TEXT, .offset = offsetof(type, revision),                \
        .argument = "NAME", .help = "which control plane; default: " CLI_REVISION                                      \
    }
/* Beside these, for those that reach into pods. */
#define CLI_KUBECTL_OPTION(type)                                                                                       \
    {                                                                                                                  \
        .name = "kubectl", .kind = CLI_OPTION_TEXT, .offset = offsetof(type, access.kubectl), .argument = "FILE",      \
        .help = "the kubectl that forwards ports; default: the one in PATH", .offer = CLI_OFFER_FILES                  \
    }
#define CLI_FORM_OPTION(type, member)                                                                                  \
    {                                                                                                                  \
        .name = "output", .letter = 'o', .kind = CLI_OPTION_FORM, .offset = offsetof(type, member),                    \
        .argument = "FORM", .help = "text (default) or json", .words = "json text"                                     \
    }

/* Reads argv[1…] into `settings` by the command's table; --help is answered. -1: go on, argv's operands are the last
 * argc - *ret_operand of it (argv is put in another order); else the exit status. */
int cli_options_read(const struct cli_command *command, int argc, char **argv, void *settings,
                     int *ret_operand) FL_MUST_CHECK;

/* Appends what --help says. 0, -ENOMEM, -EMSGSIZE. */
int cli_options_help(const struct cli_command *command, struct fl_buf *out) FL_MUST_CHECK;

/* "500ms", "10s", "2m", "1h": more than nothing, an hour at most. */
bool cli_time_read(const char *text, unsigned *ret_ms);

#endif
