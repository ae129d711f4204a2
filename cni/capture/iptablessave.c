#include "cni/capture/iptablessave.h"

#include <errno.h>

#define WORDS_MAX 64   /* of one rule; our own have less than 30 */
#define BYTES_MAX 1024 /* of one rule */
#define HEADS_MAX 64   /* chains and entries of one text; our own have less than 20 */

static const char *const tables[] = {"raw", "mangle", "nat"};

/* --- reading --- */

enum kind {
    NOTHING,
    CHAIN, /* one of ours exists */
    RULE,  /* of a chain of ours */
    ENTRY, /* of another chain, goes to one of ours */
};

struct line {
    enum kind kind;
    const char *table; /* one of `tables` */
    struct fl_span chain;
    struct fl_span text;             /* of a rule, behind the chain's name */
    bool first;                      /* ENTRY: of its chain */
    size_t count;                    /* words behind "-A CHAIN"; more than WORDS_MAX or BYTES_MAX: foreign */
    struct fl_span words[WORDS_MAX]; /* without quotes and escapes; in `bytes` */
    char bytes[BYTES_MAX];
    bool foreign; /* cannot be one that we wrote */
};

struct reader {
    struct fl_span rest;
    const char *table;    /* NULL: in none, or in one where we have nothing */
    struct fl_span chain; /* of the rule before */
};

static struct reader reader_of(struct fl_span text)
{
    return (struct reader){.rest = text};
}

static bool is_ours(struct fl_span name)
{
    return fl_span_starts_with(name, FL_SPAN(CNI_IPTABLES_PREFIX));
}

/* One word, in the way of iptables-restore: blanks part words, but in quotes; there a backslash takes the next byte as
 * it is. False at the end. */
static bool take_word(struct fl_span *rest, char **at, const char *end, struct fl_span *ret_word, bool *ret_cut)
{
    size_t i = 0;
    bool quoted = false;
    char *start = *at;
    while (i < rest->len && rest->data[i] == ' ')
        i++;
    if (i == rest->len)
        return false;
    for (; i < rest->len && (quoted || rest->data[i] != ' '); i++) {
        char byte = rest->data[i];
        if (byte == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && byte == '\\' && i + 1 < rest->len)
            byte = rest->data[++i];
        if (*at == end)
            *ret_cut = true;
        else
            *(*at)++ = byte;
    }
    *rest = fl_span_from(*rest, i);
    *ret_word = fl_span_make(start, (size_t)(*at - start));
    return true;
}

static void take_words(struct line *line)
{
    char *at = line->bytes;
    struct fl_span text = line->text, word;
    line->count = 0;
    line->foreign = false;
    while (take_word(&text, &at, line->bytes + BYTES_MAX, &word, &line->foreign)) {
        if (line->count == WORDS_MAX) {
            line->foreign = true;
            return;
        }
        line->words[line->count++] = word;
    }
}

/* Where the rule goes: behind -j or -g. */
static struct fl_span target_of(const struct line *line)
{
    for (size_t i = 0; i + 1 < line->count; i++) {
        if (fl_span_eq_str(line->words[i], "-j") || fl_span_eq_str(line->words[i], "-g"))
            return line->words[i + 1];
    }
    return (struct fl_span){0};
}

static void read_table(struct reader *reader, struct fl_span name)
{
    reader->table = NULL;
    reader->chain = (struct fl_span){0};
    for (size_t i = 0; i < FL_COUNT(tables); i++) {
        if (fl_span_eq_str(name, tables[i]))
            reader->table = tables[i];
    }
}

static void read_rule(struct reader *reader, struct fl_span text, struct line *line)
{
    size_t end = fl_span_find(text, ' ');
    line->chain = (struct fl_span){text.data, end};
    line->first = !fl_span_eq(line->chain, reader->chain);
    reader->chain = line->chain;
    line->text = fl_span_from(text, end);
    if (is_ours(line->chain)) {
        line->kind = RULE;
    } else if (memmem(text.data, text.len, CNI_IPTABLES_PREFIX, sizeof(CNI_IPTABLES_PREFIX) - 1) != NULL) {
        take_words(line);
        if (is_ours(target_of(line)))
            line->kind = ENTRY;
    }
}

/* The next line that is ours, the words of a RULE still to be taken; false at the end. */
static bool next(struct reader *reader, struct line *ret_line)
{
    struct fl_span text;
    while (fl_span_split(&reader->rest, '\n', &text)) {
        ret_line->kind = NOTHING;
        ret_line->table = reader->table;
        if (fl_span_starts_with(text, FL_SPAN("*"))) {
            read_table(reader, fl_span_from(text, 1));
        } else if (reader->table != NULL && fl_span_starts_with(text, FL_SPAN("-A "))) {
            read_rule(reader, fl_span_from(text, 3), ret_line);
        } else if (reader->table != NULL && fl_span_starts_with(text, FL_SPAN(":"))) {
            text = fl_span_from(text, 1);
            ret_line->chain = (struct fl_span){text.data, fl_span_find(text, ' ')};
            if (is_ours(ret_line->chain))
                ret_line->kind = CHAIN;
        }
        if (ret_line->kind != NOTHING)
            return true;
    }
    return false;
}

/* The next line of one kind, table and (where it has bytes) chain; without the words of a RULE. */
static bool seek(struct reader *reader, enum kind kind, const char *table, struct fl_span chain, struct line *ret_line)
{
    while (next(reader, ret_line)) {
        if (ret_line->kind == kind && ret_line->table == table &&
            (chain.len == 0 || fl_span_eq(ret_line->chain, chain)))
            return true;
    }
    return false;
}

static bool next_of(struct reader *reader, enum kind kind, const char *table, struct fl_span chain,
                    struct line *ret_line)
{
    bool found = seek(reader, kind, table, chain, ret_line);
    if (found && kind == RULE)
        take_words(ret_line);
    return found;
}

static bool has(struct fl_span text, enum kind kind, const char *table, struct fl_span chain)
{
    struct reader reader = reader_of(text);
    struct line line;
    return seek(&reader, kind, table, chain, &line);
}

/* --- one rule against another --- */

/* A match or target option with its values; "-m NAME" says nothing that the options of that match do not say. */
struct option {
    bool negated;
    struct fl_span words[3];
    size_t count;
};

static struct fl_span plain(struct fl_span word)
{
    static const struct {
        struct fl_span suffix;
    } whole[] = {{{"/32", 3}}, {{"/128", 4}}};
    for (size_t i = 0; i < FL_COUNT(whole); i++) {
        if (fl_span_ends_with(word, whole[i].suffix))
            word.len -= whole[i].suffix.len;
    }
    return word;
}

static bool next_option(const struct line *line, size_t *at, struct option *ret_option)
{
    while (*at + 1 < line->count && fl_span_eq_str(line->words[*at], "-m"))
        *at += 2;
    *ret_option = (struct option){0};
    if (*at < line->count && fl_span_eq_str(line->words[*at], "!")) {
        ret_option->negated = true;
        ++*at;
    }
    while (*at < line->count && ret_option->count < FL_COUNT(ret_option->words)) {
        struct fl_span word = line->words[*at];
        bool begins = fl_span_starts_with(word, FL_SPAN("-")) || fl_span_eq_str(word, "!");
        if (begins && ret_option->count > 0)
            break;
        ret_option->words[ret_option->count++] = plain(word);
        ++*at;
    }
    return ret_option->count > 0 || ret_option->negated;
}

static bool option_eq(const struct option *a, const struct option *b)
{
    bool same = a->negated == b->negated && a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = fl_span_eq(a->words[i], b->words[i]);
    return same;
}

static size_t times(const struct line *line, const struct option *wanted)
{
    struct option option;
    size_t count = 0;
    for (size_t at = 0; next_option(line, &at, &option);)
        count += option_eq(&option, wanted);
    return count;
}

/* Each option of `a` as often in both. */
static bool covers(const struct line *a, const struct line *b)
{
    struct option option;
    for (size_t at = 0; next_option(a, &at, &option);) {
        if (times(a, &option) != times(b, &option))
            return false;
    }
    return true;
}

/* Mostly the bytes are the same already. */
static bool rule_eq(struct line *a, struct line *b)
{
    if (fl_span_eq(a->text, b->text))
        return true;
    take_words(a);
    take_words(b);
    return !a->foreign && !b->foreign && covers(a, b) && covers(b, a);
}

/* What the rule is for, in our words. */
static struct fl_span comment_of(struct line *line)
{
    take_words(line);
    for (size_t i = 0; i + 1 < line->count; i++) {
        if (fl_span_eq_str(line->words[i], "--comment"))
            return line->words[i + 1];
    }
    return (struct fl_span){"", 0};
}

/* --- the whole --- */

/* All rules of a chain (of ours: RULE; of others, those that enter ours: ENTRY), side by side. */
static bool same_rules(struct fl_span present, struct fl_span wanted, enum kind kind, const char *table,
                       struct fl_span chain, struct fl_err *err)
{
    struct reader here = reader_of(present), there = reader_of(wanted);
    struct line is, should;
    for (size_t nth = 1;; nth++) {
        bool more = seek(&here, kind, table, chain, &is), planned = seek(&there, kind, table, chain, &should);
        if (!more && !planned)
            return true;
        if (!planned || !more) {
            struct fl_span what = comment_of(more ? &is : &should);
            fl_err_set(err, -EBADMSG, "table %s, chain %.*s, rule %zu: \"%.*s\" %s", table, FL_SPAN_ARG(chain), nth,
                       FL_SPAN_ARG(what), more ? "is not planned" : "is missing");
            return false;
        }
        bool same = rule_eq(&is, &should);
        if (same && (kind != ENTRY || is.first))
            continue;
        struct fl_span what = comment_of(&should);
        fl_err_set(err, -EBADMSG, "table %s, chain %.*s, rule %zu: \"%.*s\" %s", table, FL_SPAN_ARG(chain), nth,
                   FL_SPAN_ARG(what), same ? "is not the first" : "missing or altered");
        return false;
    }
}

/* What `a` has of ours, `b` has too: chains, and entries from the same chains. */
static bool has_all(struct fl_span a, struct fl_span b, const char *what, struct fl_err *err)
{
    struct reader reader = reader_of(a);
    struct line line;
    while (next(&reader, &line)) {
        if (line.kind == RULE || has(b, line.kind, line.table, line.chain))
            continue;
        fl_err_set(err, -EBADMSG, "table %s: %s %.*s %s", line.table, line.kind == CHAIN ? "chain" : "the entry from",
                   FL_SPAN_ARG(line.chain), what);
        return false;
    }
    return true;
}

bool cni_iptables_same(struct fl_span present, struct fl_span wanted, struct fl_err *err)
{
    struct reader reader = reader_of(wanted);
    struct line line;
    if (!has_all(wanted, present, "is missing", err) || !has_all(present, wanted, "is not planned", err))
        return false;
    while (next(&reader, &line)) {
        enum kind kind = line.kind == CHAIN ? RULE : ENTRY;
        if (line.kind != RULE && !same_rules(present, wanted, kind, line.table, line.chain, err))
            return false;
    }
    return true;
}

bool cni_iptables_comment(struct fl_span present, char ret_comment[CNI_PLAN_COMMENT_MAX])
{
    struct reader reader = reader_of(present);
    struct line line;
    while (next(&reader, &line)) {
        if (line.kind != ENTRY)
            continue;
        struct fl_span comment = comment_of(&line);
        memset(ret_comment, 0, CNI_PLAN_COMMENT_MAX);
        if (comment.len > 0 && comment.len < CNI_PLAN_COMMENT_MAX)
            memcpy(ret_comment, comment.data, comment.len);
        return true;
    }
    return false;
}

/* --- writing --- */

static bool is_one_of(struct fl_span word, const char *const *names)
{
    while (*names != NULL && !fl_span_eq_str(word, *names))
        names++;
    return *names != NULL;
}

static bool is_chain_name(struct fl_span name)
{
    bool good = name.len < 29;
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.data[i];
        good &= (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '_';
    }
    return good;
}

/* One that stays one word where it is written: blanks are for comments, which are quoted. */
static bool is_value(struct fl_span word, bool blanks)
{
    bool good = word.len > 0 && word.data[0] != '-';
    for (size_t i = 0; i < word.len; i++)
        good &=
            word.data[i] >= (blanks ? ' ' : '!') && word.data[i] <= '~' && word.data[i] != '"' && word.data[i] != '\\';
    return good;
}

/* Options and targets that we write, each with one value. */
static bool is_our_option(struct fl_span option, struct fl_span value)
{
    static const char *const plain_ones[] = {"-s",          "-d",        "-i",         "-o",        "-p",
                                             "--sport",     "--dport",   "--dports",   "--ctstate", "--uid-owner",
                                             "--gid-owner", "--comment", "--to-ports", "--zone",    NULL};
    static const char *const matches[] = {"tcp", "udp", "multiport", "owner", "conntrack", "comment", NULL};
    static const char *const targets[] = {"RETURN", "REDIRECT", "DROP", "CT", NULL};
    if (fl_span_eq_str(option, "-m"))
        return is_one_of(value, matches);
    if (fl_span_eq_str(option, "-j"))
        return is_one_of(value, targets) || (is_ours(value) && is_chain_name(value));
    return is_one_of(option, plain_ones) && is_value(value, fl_span_eq_str(option, "--comment"));
}

static bool is_our_rule(const struct line *line)
{
    bool good = !line->foreign && is_chain_name(line->chain);
    for (size_t i = 0; good && i < line->count; i += 2) {
        if (fl_span_eq_str(line->words[i], "!"))
            i++;
        good = i + 1 < line->count && is_our_option(line->words[i], line->words[i + 1]);
    }
    return good;
}

static int refuse(const struct line *line, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL,
                      "table %s, chain %.*s: something of our name (" CNI_IPTABLES_PREFIX ") is not of our making",
                      line->table, FL_SPAN_ARG(line->chain));
}

/* "-A CHAIN words" with another command. */
static int append_rule(const struct line *line, const char *command, struct fl_buf *out, struct fl_err *err)
{
    if (!is_our_rule(line))
        return refuse(line, err);
    int result = fl_buf_printf(out, "%s %.*s", command, FL_SPAN_ARG(line->chain));
    for (size_t i = 0; result == 0 && i < line->count; i++) {
        bool quotes = i > 0 && fl_span_eq_str(line->words[i - 1], "--comment");
        result = fl_buf_printf(out, quotes ? " \"%.*s\"" : " %.*s", FL_SPAN_ARG(line->words[i]));
    }
    return result == 0 ? fl_buf_append_byte(out, '\n') : result;
}

static int append_chain(const struct line *line, const char *form, struct fl_buf *out, struct fl_err *err)
{
    if (!is_chain_name(line->chain))
        return refuse(line, err);
    return fl_buf_printf(out, form[0] == ':' ? ":%.*s - [0:0]\n" : "-X %.*s\n", FL_SPAN_ARG(line->chain));
}

/* Lines of one kind and table; for chains of `text`, those alone that `but` lacks. */
static int append_lines(struct fl_span text, struct fl_span but, enum kind kind, const char *table, const char *command,
                        struct fl_buf *out, struct fl_err *err)
{
    struct reader reader = reader_of(text);
    struct line line;
    int result = 0;
    while (result == 0 && next_of(&reader, kind, table, (struct fl_span){0}, &line)) {
        if (kind != CHAIN)
            result = append_rule(&line, command, out, err);
        else if (!has(but, CHAIN, table, line.chain))
            result = append_chain(&line, command, out, err);
    }
    return result;
}

/* Declaring a chain empties it where it is there already. */
static int append_table(struct fl_span present, struct fl_span wanted, const char *table, struct fl_buf *out,
                        struct fl_err *err)
{
    const struct fl_span none = {0};
    int result = fl_buf_printf(out, "*%s\n", table);
    if (result == 0)
        result = append_lines(wanted, none, CHAIN, table, ":", out, err);
    if (result == 0)
        result = append_lines(present, wanted, CHAIN, table, ":", out, err);
    if (result == 0)
        result = append_lines(present, none, ENTRY, table, "-D", out, err);
    if (result == 0)
        result = append_lines(wanted, none, RULE, table, "-A", out, err);
    if (result == 0)
        result = append_lines(wanted, none, ENTRY, table, "-I", out, err);
    if (result == 0)
        result = append_lines(present, wanted, CHAIN, table, "-X", out, err);
    return result == 0 ? fl_buf_append_str(out, "COMMIT\n") : result;
}

/* What a pod writes in our name must not make us search for long. */
static int check_heads(struct fl_span text, struct fl_err *err)
{
    struct reader reader = reader_of(text);
    struct line line;
    size_t count = 0;
    while (next(&reader, &line)) {
        count += line.kind != RULE;
        if (count > HEADS_MAX)
            return refuse(&line, err);
    }
    return 0;
}

static bool has_any(struct fl_span text, const char *table)
{
    return has(text, CHAIN, table, (struct fl_span){0}) || has(text, ENTRY, table, (struct fl_span){0});
}

int cni_iptables_transition(struct fl_span present, struct fl_span wanted, struct fl_buf *out, struct fl_err *err)
{
    int result = check_heads(present, err);
    if (result == 0)
        result = check_heads(wanted, err);
    for (size_t i = 0; result == 0 && i < FL_COUNT(tables); i++) {
        if (has_any(present, tables[i]) || has_any(wanted, tables[i]))
            result = append_table(present, wanted, tables[i], out, err);
    }
    return result;
}
