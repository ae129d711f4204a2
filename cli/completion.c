/* fairlead completion: scripts for shells. They ask this program at each press of the key, so they never grow old. */
#include "cli/completion.h"

#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/complete.h"

#include "common/base/cleanup.h"

#include <stdio.h>

#define NAME       "completion"
#define OUTPUT_MAX (1u << 20)
#define WORDS_MAX  256
#define WAIT_MS    2000 /* a person waits for the key to answer */

static const char bash[] =
    "# fairlead for bash: source <(fairlead completion bash)\n"
    "_fairlead() {\n"
    "  local IFS=$'\\n' lines last\n"
    "  mapfile -t lines < <(\"${COMP_WORDS[0]}\" " CLI_COMPLETE_WORD " \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "  [ \"${#lines[@]}\" -gt 0 ] || return\n"
    "  last=${lines[-1]}\n"
    "  unset 'lines[-1]'\n"
    "  COMPREPLY=(\"${lines[@]%%$'\\t'*}\")\n"
    "  [ \"$last\" != :0 ] || compopt -o default\n"
    "}\n"
    "complete -F _fairlead fairlead kubectl-fairlead\n";

static const char zsh[] =
    "#compdef fairlead kubectl-fairlead\n"
    "# fairlead for zsh: fairlead completion zsh > \"${fpath[1]}/_fairlead\"\n"
    "_fairlead() {\n"
    "  local -a lines found\n"
    "  local line last\n"
    "  lines=(\"${(@f)$(\"${words[1]}\" " CLI_COMPLETE_WORD " \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "  last=${lines[-1]}\n"
    "  for line in \"${(@)lines[1,-2]}\"; do\n"
    "    found+=(\"${${line//:/\\\\:}/$'\\t'/:}\")\n"
    "  done\n"
    "  (( ${#found} )) && _describe fairlead found\n"
    "  [[ $last != :0 ]] || _files\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _fairlead ]; then _fairlead; else compdef _fairlead fairlead kubectl-fairlead; fi\n";

static const char fish[] =
    "# fairlead for fish: fairlead completion fish | source\n"
    "function __fairlead_complete\n"
    "  set -l typed (commandline -ct)\n"
    "  set -l lines (fairlead " CLI_COMPLETE_WORD " (commandline -opc)[2..-1] \"$typed\" 2>/dev/null)\n"
    "  test (count $lines) -gt 0; or return\n"
    "  string match -v -r '^:[0-9]+$' -- $lines\n"
    "  test $lines[-1] = :0; and __fish_complete_path \"$typed\"\n"
    "end\n"
    "complete -c fairlead -f -a '(__fairlead_complete)'\n";

static const char kubectl[] =
    "#!/bin/sh\n"
    "# kubectl's completion of its plugin: into a folder of PATH as " CLI_COMPLETE_PROGRAM ", executable.\n"
    "exec kubectl-fairlead " CLI_COMPLETE_WORD " \"$@\"\n";

static const struct {
    const char *name, *script;
} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}, {"kubectl", kubectl}};

const struct cli_command cli_completion_command = {
    .name = NAME,
    .summary = "a script by which a shell completes this command",
    .usage = "bash|zsh|fish|kubectl",
    .about =
        "Prints a script. bash: source <(fairlead completion bash). zsh: into a folder of $fpath as _fairlead. fish:\n"
        "fairlead completion fish | source. kubectl: a program for PATH, by which `kubectl fairlead` is completed.\n",
    .words = "bash zsh fish kubectl",
    .run = cli_completion,
};

/* --- what the cluster knows ------------------------------------------------------------------------------------- */

static const char *value_of(int count, char **words, const char *name, const char *letter)
{
    for (int i = 0; i + 2 < count; i++)
        if (strcmp(words[i], name) == 0 || (letter != NULL && strcmp(words[i], letter) == 0))
            return words[i + 1];
    return NULL;
}

static void print_names(const struct fl_json *list, const char *typed)
{
    for (const struct fl_json *item = fl_json_first(fl_json_get(list, "items")); item != NULL;
         item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(fl_json_get(item, "metadata"), "name"));
        if (fl_span_starts_with(name, fl_span_str(typed)))
            printf("%.*s\n", FL_SPAN_ARG(name));
    }
}

/* Nothing is said where it cannot be asked: the key then offers nothing. */
static void offer_objects(enum cli_offer offer, int count, char **words)
{
    const struct cli_access access = {.kubeconfig = value_of(count, words, "--kubeconfig", NULL),
                                      .context = value_of(count, words, "--context", NULL),
                                      .name_space = value_of(count, words, "--namespace", "-n"),
                                      .timeout_ms = WAIT_MS,
                                      .unasked = true};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = NULL;
    struct cli_cluster cluster = {0};
    struct fl_buf path;
    fl_buf_init(&path, OUTPUT_MAX);
    if (cli_cluster_open_for(&access, &cluster, NULL) == 0) {
        const char *own = access.name_space != NULL ? access.name_space : cli_cluster_namespace(&cluster);
        int result = fl_buf_append_str(&path, "/api/v1/namespaces");
        if (result == 0 && offer == CLI_OFFER_PODS) {
            result = fl_buf_append_byte(&path, '/');
            if (result == 0)
                result = fl_kube_escape(&path, fl_span_str(own));
            if (result == 0)
                result = fl_buf_append_str(&path, "/pods");
        }
        const char *text = result == 0 ? fl_buf_str(&path) : NULL;
        if (text != NULL && cli_cluster_get(&cluster, text, &list, NULL) == 0)
            print_names(list, words[count - 1]);
    }
    cli_cluster_close(&cluster);
    fl_buf_done(&path);
}

int cli_complete_words(int count, char **words)
{
    const char *copies[WORDS_MAX];
    enum cli_offer offer = CLI_OFFER_NOTHING;
    struct fl_buf out;
    if (count < 1 || count > WORDS_MAX)
        return CLI_OK;
    for (int i = 0; i < count; i++)
        copies[i] = words[i];
    fl_buf_init(&out, OUTPUT_MAX);
    if (cli_complete(copies, (size_t)count, &out, &offer) == 0 && out.len > 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    fl_buf_done(&out);
    if (offer == CLI_OFFER_NAMESPACES || offer == CLI_OFFER_PODS)
        offer_objects(offer, count, words);
    puts(offer == CLI_OFFER_FILES ? ":0" : ":4");
    return CLI_OK;
}

int cli_completion(int argc, char **argv)
{
    int operand, nothing = 0;
    int status = cli_options_read(&cli_completion_command, argc, argv, &nothing, &operand);
    if (status >= 0)
        return status;
    for (size_t i = 0; i < FL_COUNT(shells) && argc - operand == 1; i++)
        if (strcmp(argv[operand], shells[i].name) == 0)
            return fputs(shells[i].script, stdout) < 0 || fflush(stdout) != 0
                       ? cli_failed(NAME, "the output could not be written")
                       : CLI_OK;
    return cli_wrong(NAME, "expected bash, zsh, fish or kubectl");
}
