"""What leaves the device, only by a person's action: a FHIR document or a PDF, into a folder that they choose."""
