"""Synthetic DICOM, and DCMTK's programs."""
import io
import os
import shutil
import subprocess

import numpy
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid


def instance(study=None, series=None, size=16, syntax=ExplicitVRLittleEndian, **tags):
    """A CT image as a pydicom data set. `tags` are set last."""
    ds = Dataset()
    ds.SpecificCharacterSet = 'ISO_IR 192'
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = 'P1', 'Doe^Jane', '19700101', 'F'
    ds.StudyInstanceUID = study or generate_uid()
    ds.StudyDate, ds.StudyTime, ds.StudyDescription, ds.AccessionNumber = '20260102', '101112', 'Head', 'A1'
    ds.SeriesInstanceUID = series or generate_uid()
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = 'CT', 1, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, 'MONOCHROME2'
    ds.Rows = ds.Columns = size
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    pixels = numpy.random.default_rng(size).integers(0, 4096, size * size, dtype='<u2')
    ds.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def dicom_bytes(ds):
    """The data set as a DICOM file."""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def files(folder, data_sets):
    """Writes data sets to files and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n, ds in enumerate(data_sets):
        paths.append(folder / ('%05d.dcm' % n))
        paths[-1].write_bytes(dicom_bytes(ds))
    return paths


def dcmtk(program, *arguments):
    """Runs a program of DCMTK. pynetdicom has namesakes: those of the virtual environment are not meant."""
    folders = [f for f in os.environ['PATH'].split(':') if not os.path.exists(os.path.join(f, 'pip'))]
    found = shutil.which(program, path=':'.join(folders)) or shutil.which(program, path='/usr/bin')
    assert found, 'DCMTK is not installed (make test installs it)'
    return subprocess.run([found, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace', timeout=120)


def echoscu(client, *options):
    return dcmtk('echoscu', *options, '-aec', client.aet, '127.0.0.1', client.dicom_port)


def storescu(client, paths, *options):
    return dcmtk('storescu', *options, '-aec', client.aet, '127.0.0.1', client.dicom_port, *paths)


def dcmsend(client, paths, *options):
    return dcmtk('dcmsend', *options, '-aec', client.aet, '127.0.0.1', client.dicom_port, *paths)


__all__ = ['ImplicitVRLittleEndian', 'dcmsend', 'dcmtk', 'dicom_bytes', 'echoscu', 'files', 'instance', 'storescu']
