/* JSON numbers as text (RFC 8259 §6): their grammar, their exact value, their print.
 *
 * A double keeps 53 bits; a number from outside may hold more. So texts are compared digit by digit, never by way of a
 * double. All functions work in the C locale, which is the only one that our programs run in.
 */
#ifndef FL_DOC_NUMBER_H
#define FL_DOC_NUMBER_H

#include "common/base/span.h"

#define FL_NUMBER_MAX          1024 /* bytes of a number's text */
#define FL_NUMBER_EXPONENT_MAX 9    /* digits of its exponent, leading zeros included */
#define FL_NUMBER_PRINT_MAX    32   /* bytes of what fl_number_print writes, its NUL included */

/* Bytes of the number that `text` starts with; 0 where it starts with none (or one past the limits above). */
size_t fl_number_length(struct fl_span text);

/* The nearest double; infinite where the text is past all of them. `text` is a whole number's text by
 * fl_number_length. */
double fl_number_value(struct fl_span text);

/* Same value, exactly: "1.0" equals "1" and "10e-1"; "-0" equals "0". Both are texts by fl_number_length. */
bool fl_number_equal(struct fl_span a, struct fl_span b);

/* The shortest text that reads back as `value` (finite): whole numbers up to 2^53 without exponent. */
void fl_number_print(double value, char ret_text[FL_NUMBER_PRINT_MAX]);

#endif
