from pydicom.dataset import Dataset

from ct_vae.io.dicom.grouping_attributes import (
    KEYWORDS,
    NO_ATTRIBUTES,
    GroupingAttributes,
    read_attributes,
    text_of,
)


def dataset(**values):
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def test_every_attribute_but_the_index_of_a_dimension_has_an_element():
    assert set(KEYWORDS) == set(GroupingAttributes._fields) - {"dimensions"}


def test_values_are_texts_and_absent_ones_are_empty():
    assert read_attributes(Dataset()) == NO_ATTRIBUTES
    found = read_attributes(
        dataset(PatientID=" P1 ", AcquisitionNumber=3, ImageType=["ORIGINAL", "PRIMARY"], KVP="")
    )
    assert (found.patient, found.acquisition, found.voltage) == ("P1", "3", "")
    assert found.image_type == "ORIGINAL\\PRIMARY"


def test_the_first_element_with_a_value_counts():
    both = dataset(AcquisitionTime="", AcquisitionDateTime="20200101120000")
    assert text_of(both, "AcquisitionTime", "AcquisitionDateTime") == "20200101120000"


def test_elements_that_cannot_be_parsed_count_as_absent():
    class Broken:
        def get(self, _):
            raise OverflowError

    assert read_attributes(Broken()) == NO_ATTRIBUTES
