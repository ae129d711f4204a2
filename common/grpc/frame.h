/* Length-prefixed messages of gRPC: one byte of flags, four of length (network order), the message. Sans-I/O: a stream
 * may be cut into pieces at any byte. Compressed messages are refused (we announce no grpc-accept-encoding).
 *
 * Memory grows with the bytes that came, never with the length that was announced, and is released between messages.
 */
#ifndef FL_GRPC_FRAME_H
#define FL_GRPC_FRAME_H

#include "common/base/buf.h"

#define FL_GRPC_HEAD_SIZE 5

struct fl_grpc_reader {
    struct fl_buf message; /* what came of a message that is not complete */
    uint8_t head[FL_GRPC_HEAD_SIZE];
    uint8_t head_len; /* bytes of the head that came */
    bool whole;       /* `message` was handed out: it is released by the next call */
    uint32_t size;    /* of the message, once the head is complete */
    size_t max;
};

enum fl_grpc_read {
    FL_GRPC_READ_MORE = 1, /* all bytes are consumed, the message is not complete */
    FL_GRPC_READ_MESSAGE,  /* *ret_message; call again with the rest */
};

void fl_grpc_reader_init(struct fl_grpc_reader *reader, size_t max); /* of one message */
void fl_grpc_reader_done(struct fl_grpc_reader *reader);

/* Consumes from *bytes up to the end of one message. The message holds until the next call (it may lie in the caller's
 * bytes) and may be empty. enum fl_grpc_read, or -EMSGSIZE (longer than max), -ENOTSUP (compressed), -EBADMSG (flags
 * that do not exist), -ENOMEM; after an error only _done is allowed. */
int fl_grpc_reader_next(struct fl_grpc_reader *reader, struct fl_span *bytes,
                        struct fl_span *ret_message) FL_MUST_CHECK;

/* Whether the stream may end here: no part of a message is there. */
bool fl_grpc_reader_is_between(const struct fl_grpc_reader *reader);

/* Appends head and message. 0, -ENOMEM, -EMSGSIZE (the buffer's maximum, or 2^32 - 1). */
int fl_grpc_frame_append(struct fl_buf *buf, struct fl_span message) FL_MUST_CHECK;

#endif
