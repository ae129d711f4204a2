/* Every annotation with every value that a mistaken or hostile hand might write. A value is taken by the forms that the
 * row names and refused by all others; a refusal names the annotation, is one line without control characters, and
 * leaves nothing behind. */
#include "tests/unit/webhook/test.h"

#include "webhook/resolve.h"

#include <stdlib.h>

#define LONG 65536

/* Letters of the forms that take it: P ports, A the app's ports, C CIDRs, U uids, I interfaces, S switch, T seconds,
 * G seconds that are not 0, L log level, M image, Y pull policy, Q quantity, V privileged, E env, O volumes, N mounts.
 */
static const struct {
    const char *text;
    size_t len; /* 0: strlen; else `text` is repeated to this length */
    const char *taken;
} values[] = {
    {"", 0, "PACUIYQEON"},
    {" ", 0, "PACUI"},
    {"\t\n\r ", 0, ""},
    {"null", 0, "IMQEON"},
    {"Null", 0, "I"},
    {"true", 0, "IM"},
    {"enabled", 0, "SIM"},
    {"disabled", 0, "SIM"},
    {"Enabled", 0, "I"},
    {"enabled ", 0, "I"},
    {" enabled", 0, "I"},
    {"enabled\n", 0, ""},
    {"enabled\nfairlead.io/proxy-image: evil", 0, ""},
    {"info", 0, "ILM"},
    {"INFO", 0, "I"},
    {"info\r\nX: y", 0, ""},
    {"warn", 0, "ILMV"},
    {"Always", 0, "IY"},
    {"always", 0, "IM"},
    {"*", 0, "PAC"},
    {"* ", 0, "PAC"},
    {"*,80", 0, ""},
    {"**", 0, ""},
    {"0", 0, "UITQM"},
    {"-0", 0, "I"},
    {"00", 0, "UITQM"},
    {"80", 0, "PAUITGQM"},
    {"080", 0, "PAUITGQM"},
    {"+80", 0, "I"},
    {"-1", 0, "I"},
    {"80,80", 0, "PAUI"},
    {"80,,81", 0, ""},
    {",", 0, ""},
    {"80,", 0, ""},
    {"80-81", 0, "PAUIM"},
    {"81-80", 0, "IM"},
    {"80 - 81", 0, ""},
    {"80;81", 0, "I"},
    {"65535", 0, "PAUIQM"},
    {"65536", 0, "UIQM"},
    {"15001", 0, "PUIQM"},
    {"14999-15100", 0, "PUIM"},
    {"1-65535", 0, "PAUIM"},
    {"3600", 0, "PAUITGQM"},
    {"3601", 0, "PAUIQM"},
    {"4294967294", 0, "UIQM"},
    {"4294967295", 0, "IQM"},
    {"4294967376", 0, "IQM"},         /* 2^32 + 80 */
    {"18446744073709551696", 0, "M"}, /* 2^64 + 80: longer than an interface's name */
    {"99999999999999999999999999999999", 0, "M"},
    {"1e3", 0, "IQM"},
    {"1e400", 0, "IM"},
    {"1e-400", 0, "IM"},
    {"1.5", 0, "IQM"},
    {"0x50", 0, "IM"},
    {"80.0", 0, "IQM"},
    {"NaN", 0, "I"},
    {"Infinity", 0, "I"},
    {"100m", 0, "IQM"},
    {"100M ", 0, "I"},
    {"64Mi", 0, "IQ"},
    {"64mi", 0, "IM"},
    {"-64Mi", 0, "I"},
    {"1Ei", 0, "I"},                     /* past 10^18 */
    {"\xef\xbc\x98\xef\xbc\x90", 0, ""}, /* 80 in full width */
    {"\xd9\xa8\xd9\xa0", 0, ""},         /* in Arabic digits */
    {"\xe2\x80\x8b"
     "80",
     0, ""},                   /* behind a space of no width */
    {"80\xe2\x80\xae", 0, ""}, /* turned round */
    {"\xff\xfe", 0, ""},
    {"\xc0\xb1", 0, ""}, /* an overlong 1 */
    {"\xed\xa0\x80", 0, ""},
    {"\x1b[31mred", 0, ""},
    {"\x01", 0, ""},
    {"\x7f", 0, ""},
    {"10.0.0.0/8", 0, "CM"},
    {"10.0.0.0/33", 0, "M"},
    {"10.0.0.0/-1", 0, ""},
    {"10.0.0.0/", 0, ""},
    {"10.0.0", 0, "IM"},
    {"010.0.0.1", 0, "IM"},
    {"::ffff:1.2.3.4", 0, ""},
    {"::/0,0.0.0.0/0", 0, "C"},
    {"fe80::1%eth0", 0, ""},
    {"eth0", 0, "IM"},
    {"..", 0, ""},
    {".", 0, ""},
    {"../../etc/passwd", 0, ""},
    {"/run/fairlead", 0, ""},
    {"$(POD_NAME)", 0, "I"},
    {"`id`", 0, "I"},
    {"'; drop table pods; --", 0, ""},
    {"%s%n%999999d", 0, "I"},
    {"{{.Values.x}}", 0, "I"},
    {"{}", 0, "IE"},
    {"[]", 0, "ION"},
    {"{\"a\":1}", 0, ""},
    {"{\"A\":\"1\",\"A\":\"2\"}", 0, ""}, /* twice */
    {"{\"A\":\"1\"} x", 0, ""},
    {"{\"A\":\"\\u0000\"}", 0, ""},
    {"{\"A\":\"1\"}", 0, "E"},
    {"{\"\":\"1\"}", 0, ""},
    {"{\"A=B\":\"1\"}", 0, ""},
    {"{\"1A\":\"1\"}", 0, ""},
    {"{\"A B\":\"1\"}", 0, ""},
    {"{\"POD_NAME\":\"x\"}", 0, ""},
    {"{\"FAIRLEAD_CAPTURE\":\"\"}", 0, ""},
    {"{\"LD_PRELOAD\":\"/evil.so\"}", 0, ""},
    {"{\"OPENSSL_CONF\":\"/evil\"}", 0, ""},
    {"{\"A\":\"$(B)\"}", 0, ""},
    {"{\"A\":\"$$(B)\"}", 0, "E"},
    {"{\"A\":\"$$$(B)\"}", 0, ""},
    {"{\"A\":\"$\"}", 0, "E"},
    {"{\"A\":null}", 0, ""},
    {"[1]", 0, "I"},
    {"[{}]", 0, "I"},
    {"[null]", 0, "I"},
    {"[{\"name\":\"v\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"emptyDir\":{}}]", 0, "O"},
    {"[{\"name\":\"v\",\"emptyDir\":{},\"configMap\":{}}]", 0, ""},
    {"[{\"name\":\"v\"},{\"name\":\"v\"}]", 0, ""},
    {"[{\"name\":\"V\"}]", 0, ""},
    {"[{\"name\":\"fairlead-token\"}]", 0, ""},
    {"[{\"name\":\"fairlead-proxy\",\"mountPath\":\"/x\"}]", 0, ""},
    {"[{\"name\":\"h\",\"hostPath\":{\"path\":\"/\"}}]", 0, ""},
    {"[{\"name\":\"h\",\"hostPath\":null}]", 0, "O"},
    {"[{\"name\":\"t\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"audience\":\"fairlead-ca\"}}]}}]", 0,
     ""},
    {"[{\"name\":\"t\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"audience\":\"vault\"}}]}}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/data\"}]", 0, "ON"}, /* as a volume: a source that Kubernetes does not know */
    {"[{\"name\":\"v\",\"mountPath\":\"/\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/run\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/run/fairlead/x\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/run/fairlead-else\"}]", 0, "ON"},
    {"[{\"name\":\"v\",\"mountPath\":\"/var/run/fairlead/\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/a/../run/fairlead\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"//run/fairlead\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/./run/fairlead\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"relative\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/a:b\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/fairlead-proxy\"}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":7}]", 0, "O"},
    {"[{\"name\":\"v\",\"mountPath\":\"/d\",\"mountPropagation\":\"Bidirectional\"}]", 0, ""},
    {"[{\"name\":\"v\",\"mountPath\":\"/d\"},{\"name\":\"w\",\"mountPath\":\"/d\"}]", 0, "O"},
    {"host.example:5000/a/b:tag@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 0, "M"},
    {"host.example:65536/a", 0, ""},
    {"a b", 0, ""},
    {"a:b:c", 0, ""},
    {"a@sha256:xyz", 0, ""},
    {"http://host.example/a", 0, ""},
    /* long ones */
    {"8", LONG, ""},
    {"a", LONG, ""},
    {" ", LONG, "PACUI"},
    {"1,", LONG, ""},
    {"80,8080,9", LONG, "PAUI"},
    {"[", LONG, ""},
    {"{\"A\":", LONG, ""},
    {"\xf0\x9f\x98\x80", LONG, ""},
};

static const struct {
    char letter;
    const char *wanted; /* how the form begins in webhook_form */
} letters[] = {
    {'P', "`*`, or ports and ranges: "},
    {'A', "`*`, or ports and ranges that"},
    {'C', "`*`, or `10.0.0.0/8"},
    {'U', "uids and ranges"},
    {'I', "names: `eth1"},
    {'S', "`enabled` or"},
    {'T', "0 to 3600"},
    {'G', "1 to 3600"},
    {'L', "`trace`"},
    {'M', "`[host"},
    {'Y', "`Always`"},
    {'Q', "a quantity"},
    {'V', "`warn`"},
    {'E', "a JSON object"},
    {'O', "a JSON array of Volumes"},
    {'N', "a JSON array of VolumeM"},
};

static char letter_of(enum webhook_setting setting)
{
    const char *wanted = webhook_setting_form(setting)->wanted;
    for (size_t i = 0; i < FL_COUNT(letters); i++) {
        if (strncmp(wanted, letters[i].wanted, strlen(letters[i].wanted)) == 0)
            return letters[i].letter;
    }
    fail_msg("no letter for %s", wanted);
    return '?';
}

/* The value as it stands in row i, in memory of its own, so that a look past its end is seen by the sanitizers. */
static struct fl_span make_value(size_t i)
{
    size_t unit = strlen(values[i].text);
    size_t len = values[i].len > 0 ? values[i].len - values[i].len % unit : unit;
    char *text = malloc(len > 0 ? len : 1);
    assert_non_null(text);
    for (size_t at = 0; at < len; at += unit)
        memcpy(text + at, values[i].text, unit);
    return fl_span_make(text, len);
}

static void check_text(const char *text, size_t row)
{
    assert_true(text[0] != '\0');
    for (const char *byte = text; *byte != '\0'; byte++) {
        if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
            fail_msg("row %zu: a control character in \"%s\"", row, text);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct webhook_settings defaults;
    size_t wrong = 0;
    webhook_settings_defaults(&defaults);
    for (size_t i = 0; i < FL_COUNT(values); i++) {
        for (int setting = 0; setting < WEBHOOK_SETTING_COUNT; setting++) {
            struct webhook_settings settings = defaults;
            struct fl_span value = make_value(i);
            struct fl_err err = {0};
            int result = webhook_setting_read((enum webhook_setting)setting, value, WEBHOOK_LEVEL_POD, &settings, &err);
            if (result == 0 && setting == WEBHOOK_SET_PROXY_VOLUMES)
                result = webhook_settings_check(&settings, FL_SPAN("fairlead-ca"), false, NULL, &err);
            bool taken = strchr(values[i].taken, letter_of((enum webhook_setting)setting)) != NULL;
            if (result != (taken ? 0 : -EINVAL)) {
                print_error("row %zu, \"%.40s\", %c: gave %d %s\n", i, values[i].text,
                            letter_of((enum webhook_setting)setting), result, err.text);
                wrong++;
            }
            if (result < 0)
                check_text(err.text, i);
            webhook_settings_done(&settings);
            free((char *)(uintptr_t)value.data);
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
