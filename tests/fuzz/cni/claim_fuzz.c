/* The environment of a process, and small files of /proc: whole and in pieces it must claim the same, and so must its
 * excerpt. The first byte is the size of the pieces. */
#include "cni/repair/claim.h"
#include "cni/repair/procfile.h"
#include "cni/repair/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_claim(struct fl_span bytes, size_t piece, struct cni_claim *claim, struct fl_buf *excerpt)
{
    FL_CLEANUP(cni_claim_reader_done) struct cni_claim_reader reader;
    struct fl_err err;
    int result = 0;
    cni_claim_reader_init(&reader);
    for (size_t at = 0; at < bytes.len && result == 0; at += piece)
        result =
            cni_claim_feed(&reader, fl_span_make(bytes.data + at, bytes.len - at < piece ? bytes.len - at : piece));
    if (result >= 0 && excerpt != NULL && cni_claim_excerpt(&reader, excerpt) != 0)
        abort();
    return result < 0 ? result : cni_claim_finish(&reader, claim, &err);
}

static void read_files(struct fl_span text)
{
    char pod[CNI_PROCFILE_POD_MAX];
    uint64_t ticks;
    uint32_t uid, gid;
    (void)cni_procfile_start_time(text, &ticks);
    (void)cni_procfile_ids(text, &uid, &gid);
    (void)cni_procfile_map_id(text, 1337, &uid);
    (void)cni_procfile_pod(text, pod);
    (void)cni_scan_parse_last(text.data, text.len);
}

static bool same(int a_result, const struct cni_claim *a, int b_result, const struct cni_claim *b)
{
    if (a_result != b_result)
        return false;
    return a_result != 0 ||
           (strcmp(a->pod, b->pod) == 0 && a->address_count == b->address_count &&
            fl_span_eq(fl_span_make(a->capture, a->capture_len), fl_span_make(b->capture, b->capture_len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(cni_claim_done) struct cni_claim whole = {0};
    FL_CLEANUP(cni_claim_done) struct cni_claim pieces = {0};
    FL_CLEANUP(cni_claim_done) struct cni_claim again = {0};
    FL_CLEANUP(fl_buf_done) struct fl_buf excerpt;
    fl_buf_init(&excerpt, CNI_CLAIM_EXCERPT_MAX);
    if (size == 0)
        return 0;
    struct fl_span bytes = fl_span_make(data + 1, size - 1);
    int first = read_claim(bytes, bytes.len > 0 ? bytes.len : 1, &whole, &excerpt);
    int second = read_claim(bytes, 1u + data[0], &pieces, NULL);
    int third = read_claim(fl_buf_span(&excerpt), 64, &again, NULL);
    if (!same(first, &whole, second, &pieces) || !same(first, &whole, third, &again))
        abort();
    read_files(bytes);
    return 0;
}
