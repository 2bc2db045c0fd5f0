//! TPM interface (TCG PC Client PTP: FIFO/TIS) over embedded-hal 1.0 SPI and I2C.
#![no_std]
